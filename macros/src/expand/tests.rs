//! What the attributes accept, and where they report what they do not.

use proc_macro2::{LineColumn, TokenStream};

use super::{Attribute, expand, try_expand};

fn tokens(source: &str) -> TokenStream {
    source.parse().expect("tokens")
}

/// The message of the error and the part of `source` at which it is reported. The place of an
/// option is a part of `arguments`.
#[track_caller]
fn refused(attribute: Attribute, arguments: &str, item: &str) -> (String, String) {
    let error = try_expand(attribute, tokens(arguments), tokens(item)).expect_err("an error");
    let (start, end) = (error.span().start(), error.span().end());
    let at = |place: LineColumn| place.column;
    let cut = |source: &str| source.get(at(start)..at(end)).unwrap_or("").to_owned();
    let message = error.to_string();
    let is_option = ["option", "driver", "true", "twice"].iter().any(|w| message.contains(w));
    let place = if is_option { cut(arguments) } else { cut(item) };
    assert!(
        expand(attribute, tokens(arguments), tokens(item)).to_string().contains("compile_error")
    );
    (message, place)
}

fn expanded(attribute: Attribute, arguments: &str, item: &str) -> String {
    let expansion = try_expand(attribute, tokens(arguments), tokens(item)).expect("an expansion");
    syn::parse2::<syn::ItemFn>(expansion.clone()).expect("one function");
    expansion.to_string().replace(' ', "")
}

/// Goal: a function that cannot be run is refused at the part that is wrong, with the remedy.
///
/// Method: no function, one that is not async, arguments, generics, and a second `#[test]`, for
/// both attributes.
///
/// Kills: an error at the attribute for each mistake; an expansion that rustc refuses without a
/// hint.
#[test]
fn functions_that_cannot_run_are_refused_at_their_mistake() {
    for attribute in [Attribute::Main, Attribute::Test] {
        let name = attribute.name();
        let (message, place) = refused(attribute, "", "fn works() {}");
        assert_eq!(message, format!("#[{name}] is for an `async fn`: add `async`"));
        assert_eq!(place, "fn");

        let (message, place) = refused(attribute, "", "async fn works(a: u8, b: u8) {}");
        assert_eq!(message, format!("the function of #[{name}] takes no arguments"));
        assert_eq!(place, "a: u8, b: u8");

        let (message, place) = refused(attribute, "", "async fn works<T>() {}");
        assert_eq!(message, format!("the function of #[{name}] has no generic parameters"));
        assert_eq!(place, "T");

        let (message, place) = refused(attribute, "", "#[test] async fn works() {}");
        assert!(message.contains("another attribute for tests"), "{message}");
        assert_eq!(place, "#[test]");

        let (message, place) = refused(attribute, "", "struct Works;");
        assert!(message.starts_with(&format!("#[{name}] is for an `async fn`: ")), "{message}");
        assert_eq!(place, "struct");
    }
}

/// Goal: options that do not exist, or have a wrong value, are refused at their place with what is
/// possible.
///
/// Method: an unknown option, one of the other attribute, wrong values of each, a flag, and an
/// option that is set twice.
///
/// Kills: an option that is ignored; `start_paused` for `main`; a string for `true`.
#[test]
fn options_that_do_not_exist_are_refused_at_their_place() {
    const ITEM: &str = "async fn works() {}";
    let drivers = "the driver must be \"auto\", \"uring\" or \"epoll\"";
    let effects = "the option `ctrl_c` must be \"default\" or \"graceful\"";
    let cases = [
        (
            Attribute::Main,
            "flavor = 1",
            "unknown option of #[ringloop::main]: it has `driver` and `ctrl_c`",
            "flavor",
        ),
        (
            Attribute::Main,
            "start_paused = true",
            "unknown option of #[ringloop::main]: it has `driver` and `ctrl_c`",
            "start_paused",
        ),
        (
            Attribute::Test,
            "driver = \"epoll\", threads = 2",
            "unknown option of #[ringloop::test]: it has `driver` and `start_paused`",
            "threads",
        ),
        (Attribute::Test, "driver = \"kqueue\"", drivers, "\"kqueue\""),
        (Attribute::Main, "driver = epoll", drivers, "epoll"),
        (Attribute::Main, "ctrl_c = \"gracefully\"", effects, "\"gracefully\""),
        (Attribute::Main, "driver = \"epoll\", ctrl_c = true", effects, "true"),
        (
            Attribute::Test,
            "ctrl_c = \"graceful\"",
            "unknown option of #[ringloop::test]: it has `driver` and `start_paused`",
            "ctrl_c",
        ),
        (
            Attribute::Test,
            "start_paused = \"true\"",
            "the value must be `true` or `false`",
            "\"true\"",
        ),
        (
            Attribute::Test,
            "start_paused = true, start_paused = false",
            "`start_paused` is set twice",
            "start_paused",
        ),
    ];
    for (attribute, arguments, expected, place) in cases {
        let refused = refused(attribute, arguments, ITEM);
        assert_eq!(refused, (expected.to_owned(), place.to_owned()), "{arguments}");
    }
    let error = try_expand(Attribute::Test, tokens("start_paused"), tokens(ITEM)).unwrap_err();
    assert_eq!(error.to_string(), "expected `=`");
}

/// Goal: the options reach the runtime.
///
/// Method: each option in the text of the expansion.
///
/// Kills: an option that is parsed and not used; drivers that are exchanged.
#[test]
fn options_reach_the_expansion() {
    const ITEM: &str = "async fn works() { body() }";
    let main = expanded(Attribute::Main, "", ITEM);
    assert!(main.contains("::ringloop::run(works())"), "{main}");
    let main = expanded(Attribute::Main, "driver = \"uring\"", ITEM);
    assert!(main.contains("driver(::ringloop::DriverChoice::Uring)"), "{main}");
    let main = expanded(Attribute::Main, "ctrl_c = \"default\"", ITEM);
    assert_eq!(main, expanded(Attribute::Main, "", ITEM));
    let main = expanded(Attribute::Main, "ctrl_c = \"graceful\"", ITEM);
    assert!(main.contains("match::ringloop::run(async{"), "{main}");
    assert!(main.contains("::ringloop::signal::until_ctrl_c(works())"), "{main}");
    let exit = "::std::process::exit(::ringloop::signal::Interrupted::EXIT_CODE)";
    assert!(main.contains(exit), "{main}");
    let options = "ctrl_c = \"graceful\", driver = \"epoll\"";
    let main = expanded(Attribute::Main, options, ITEM);
    assert!(main.contains("driver(::ringloop::DriverChoice::Epoll)"), "{main}");
    assert!(main.contains("::ringloop::signal::until_ctrl_c(works())"), "{main}");

    let test = expanded(Attribute::Test, "", ITEM);
    let start = "EachDriver::new(\"works\").driver(::ringloop::DriverChoice::Auto)";
    assert!(test.contains(&format!("{start}.start_paused(false).run(works)")), "{test}");
    let test = expanded(Attribute::Test, "driver = \"epoll\", start_paused = true,", ITEM);
    let start = "EachDriver::new(\"works\").driver(::ringloop::DriverChoice::Epoll)";
    assert!(test.contains(&format!("{start}.start_paused(true).run(works)")), "{test}");
}

/// Goal: the rest of the function is kept: attributes, visibility, output and body.
///
/// Method: a function with all of them, for both attributes; one that should panic.
///
/// Kills: an attribute that is lost; an output that is dropped; an exit code of a test that should
/// panic, which rustc refuses.
#[test]
fn attributes_and_outputs_are_kept() {
    let item = "#[allow(dead_code)] pub(crate) async fn works() -> Result<(), u8> { Err(7) }";
    let main = expanded(Attribute::Main, "", item);
    assert!(main.starts_with("#[allow(dead_code)]pub(crate)fnworks()->Result<(),u8>"), "{main}");
    assert!(main.contains("asyncfnworks()->Result<(),u8>{Err(7)}"), "{main}");
    let test = expanded(Attribute::Test, "", item);
    assert!(test.contains("#[allow(dead_code)]#[::core::prelude::v1::test]pub(crate)fn"), "{test}");
    assert!(test.contains("fnworks()->::std::process::ExitCode{asyncfn"), "{test}");
    assert!(test.contains("asyncfnworks()->Result<(),u8>{Err(7)}"), "{test}");

    let item = "#[should_panic(expected = \"seven\")] async fn works() { panic!(\"seven\") }";
    let test = expanded(Attribute::Test, "", item);
    assert!(test.starts_with("#[should_panic(expected=\"seven\")]#[::core"), "{test}");
    assert!(test.contains("fnworks(){asyncfnworks()"), "{test}");
    assert!(test.contains(".run_should_panic(works)"), "{test}");
}

/// Goal: inner attributes of the function are kept, at a place where they are allowed.
///
/// Method: a body that begins with one, for both attributes.
///
/// Kills: an inner attribute before the function, which rustc refuses.
#[test]
fn inner_attributes_stay_in_the_function() {
    let item = "#[inline] async fn works() { #![allow(dead_code)] body() }";
    for (attribute, start) in [
        (Attribute::Main, "#[inline]fnworks(){#![allow(dead_code)]asyncfnworks(){body()}"),
        (
            Attribute::Test,
            "#[inline]#[::core::prelude::v1::test]fnworks()->::std::process::ExitCode\
             {#![allow(dead_code)]asyncfnworks(){body()}",
        ),
    ] {
        let expansion = expanded(attribute, "", item);
        assert!(expansion.starts_with(start), "{expansion}");
    }
}

//! The expansion of the attributes.
//!
//! ```text
//! #[ringloop::main]                    fn main() -> R {
//! async fn main() -> R { body }  ──▶       async fn main() -> R { body }
//!                                          ::ringloop::run(main())
//!                                      }
//!
//! #[ringloop::main(ctrl_c = "graceful")]
//!                                      The same, with `until_ctrl_c(main())` in place of `main()`,
//!                                      and an exit if that was interrupted.
//!
//! #[ringloop::test]                    #[::core::prelude::v1::test]
//! async fn works() -> R { body } ──▶   fn works() -> ::std::process::ExitCode {
//!                                          async fn works() -> R { body }
//!                                          EachDriver::new("works").run(works)
//!                                      }
//! ```
//!
//! The body keeps its places, so errors inside of it are reported where they are. The attributes of
//! the function stand on the outer one, which covers the inner one; inner attributes (`#![..]`)
//! begin its body.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{AttrStyle, Attribute as SynAttribute, Error, ItemFn, ReturnType, Signature};

use crate::options::{Attribute, CtrlC, Driver, Options};

/// Expands `attribute` on `item`. What is wrong becomes a compile error at its place.
pub(crate) fn expand(
    attribute: Attribute,
    arguments: TokenStream,
    item: TokenStream,
) -> TokenStream {
    match try_expand(attribute, arguments, item) {
        Ok(expansion) => expansion,
        Err(error) => error.into_compile_error(),
    }
}

fn try_expand(
    attribute: Attribute,
    arguments: TokenStream,
    item: TokenStream,
) -> syn::Result<TokenStream> {
    let function = syn::parse2::<ItemFn>(item).map_err(|error| {
        let message = format!("#[{}] is for an `async fn`: {error}", attribute.name());
        Error::new(error.span(), message)
    })?;
    check(attribute, &function)?;
    let options = Options::parse(attribute, arguments)?;
    Ok(match attribute {
        Attribute::Main => main(options, &function),
        Attribute::Test => test(options, &function),
    })
}

fn check(attribute: Attribute, function: &ItemFn) -> syn::Result<()> {
    let name = attribute.name();
    let Signature { asyncness, inputs, generics, fn_token, .. } = &function.sig;
    if asyncness.is_none() {
        let message = format!("#[{name}] is for an `async fn`: add `async`");
        return Err(Error::new(fn_token.span, message));
    }
    if !inputs.is_empty() {
        let message = format!("the function of #[{name}] takes no arguments");
        return Err(Error::new(inputs.span(), message));
    }
    if !generics.params.is_empty() {
        let message = format!("the function of #[{name}] has no generic parameters");
        return Err(Error::new(generics.params.span(), message));
    }
    if let Some(other) = function.attrs.iter().find(|other| is_named(other, "test")) {
        let message = format!("#[{name}] is combined with another attribute for tests: remove one");
        return Err(Error::new(other.span(), message));
    }
    Ok(())
}

/// Whether the last part of an attribute's path is `name`.
fn is_named(attribute: &SynAttribute, name: &str) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == name)
}

/// The attributes of a function: before it (`#[..]`), and at the begin of its body (`#![..]`).
struct Attributes<'a> {
    outer: Vec<&'a SynAttribute>,
    inner: Vec<&'a SynAttribute>,
}

fn attributes(all: &[SynAttribute]) -> Attributes<'_> {
    let is_outer = |attribute: &&SynAttribute| matches!(attribute.style, AttrStyle::Outer);
    let (outer, inner) = all.iter().partition(is_outer);
    Attributes { outer, inner }
}

fn choice(driver: Driver) -> TokenStream {
    match driver {
        Driver::Auto => quote!(::ringloop::DriverChoice::Auto),
        Driver::Uring => quote!(::ringloop::DriverChoice::Uring),
        Driver::Epoll => quote!(::ringloop::DriverChoice::Epoll),
    }
}

fn main(options: Options, function: &ItemFn) -> TokenStream {
    let ItemFn { attrs, vis, sig, block } = function;
    let Signature { ident, output, .. } = sig;
    let Options { driver, ctrl_c, start_paused: _ } = options;
    let run = match ctrl_c {
        CtrlC::Default => run(driver, &quote!(#ident())),
        CtrlC::Graceful => run_until_ctrl_c(driver, &quote!(#ident())),
    };
    let Attributes { outer, inner } = attributes(attrs);
    quote! {
        #(#outer)*
        #vis fn #ident() #output {
            #(#inner)*
            async fn #ident() #output #block
            #run
        }
    }
}

/// Runs `future` on a new runtime, which ends with the expression.
fn run(driver: Driver, future: &TokenStream) -> TokenStream {
    match driver {
        Driver::Auto => quote!(::ringloop::run(#future)),
        Driver::Uring | Driver::Epoll => {
            let choice = choice(driver);
            quote! {
                match ::ringloop::Runtime::builder().driver(#choice).build() {
                    ::core::result::Result::Ok(runtime) => runtime.block_on(#future),
                    ::core::result::Result::Err(error) => ::core::panic!("{error}"),
                }
            }
        }
    }
}

/// Like [`run`], until Ctrl-C. The process exits when the runtime has ended.
fn run_until_ctrl_c(driver: Driver, future: &TokenStream) -> TokenStream {
    let run = run(
        driver,
        &quote! {
            async {
                match ::ringloop::signal::until_ctrl_c(#future) {
                    ::core::result::Result::Ok(interruptible) => interruptible.await,
                    ::core::result::Result::Err(error) => {
                        ::core::panic!("cannot listen for Ctrl-C: {error}")
                    }
                }
            }
        },
    );
    quote! {
        match #run {
            ::core::result::Result::Ok(output) => output,
            ::core::result::Result::Err(::ringloop::signal::Interrupted) => {
                ::std::process::exit(::ringloop::signal::Interrupted::EXIT_CODE)
            }
        }
    }
}

fn test(options: Options, function: &ItemFn) -> TokenStream {
    let ItemFn { attrs, vis, sig, block } = function;
    let Signature { ident, output, .. } = sig;
    let Options { driver, ctrl_c: _, start_paused } = options;
    let name = ident.to_string();
    let choice = choice(driver);
    let plan = quote! {
        ::ringloop::testing::EachDriver::new(#name).driver(#choice).start_paused(#start_paused)
    };
    // An output that no test may have is an error at its place.
    let place = match output {
        ReturnType::Default => Span::call_site(),
        ReturnType::Type(_, output) => output.span(),
    };
    // A test that should panic must return nothing.
    let (result, run) = match attrs.iter().any(|other| is_named(other, "should_panic")) {
        true => (quote!(), quote_spanned!(place=> .run_should_panic(#ident))),
        false => (quote!(-> ::std::process::ExitCode), quote_spanned!(place=> .run(#ident))),
    };
    let Attributes { outer, inner } = attributes(attrs);
    quote! {
        #(#outer)*
        #[::core::prelude::v1::test]
        #vis fn #ident() #result {
            #(#inner)*
            async fn #ident() #output #block
            #plan #run
        }
    }
}

#[cfg(test)]
mod tests;

//! The options of an attribute: `driver = "epoll", start_paused = true`.

use proc_macro2::TokenStream;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, Lit, MetaNameValue, Token};

/// The two attributes of this crate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Attribute {
    Main,
    Test,
}

impl Attribute {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Attribute::Main => "ringloop::main",
            Attribute::Test => "ringloop::test",
        }
    }

    /// The options that it has. A new option is a name here and an arm in [`Options::set`].
    fn options(self) -> &'static [&'static str] {
        match self {
            Attribute::Main => &["driver", "ctrl_c"],
            Attribute::Test => &["driver", "start_paused"],
        }
    }
}

/// A variant of `ringloop::DriverChoice`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Driver {
    Auto,
    Uring,
    Epoll,
}

/// What the first Ctrl-C does to a main function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CtrlC {
    /// The disposition of the process is not changed.
    Default,
    /// The main future is dropped.
    Graceful,
}

/// The options of one use of an attribute, or their defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    pub(crate) driver: Driver,
    pub(crate) ctrl_c: CtrlC,
    pub(crate) start_paused: bool,
}

impl Options {
    /// Reads the arguments of `attribute`.
    pub(crate) fn parse(attribute: Attribute, arguments: TokenStream) -> syn::Result<Options> {
        let (driver, ctrl_c) = (Driver::Auto, CtrlC::Default);
        let mut options = Options { driver, ctrl_c, start_paused: false };
        let mut seen = Vec::new();
        let list = Punctuated::<MetaNameValue, Token![,]>::parse_terminated.parse2(arguments)?;
        for MetaNameValue { path, value, .. } in &list {
            let name = path.get_ident().map(ToString::to_string).unwrap_or_default();
            if !attribute.options().contains(&name.as_str()) {
                return Err(Error::new(path.span(), unknown(attribute)));
            }
            if seen.contains(&name) {
                return Err(Error::new(path.span(), format!("`{name}` is set twice")));
            }
            options.set(&name, value)?;
            seen.push(name);
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &Expr) -> syn::Result<()> {
        match name {
            "driver" => self.driver = driver(value)?,
            "ctrl_c" => self.ctrl_c = ctrl_c(value)?,
            "start_paused" => self.start_paused = boolean(value)?,
            _ => unreachable!("`{name}` is on the list of options"),
        }
        Ok(())
    }
}

fn unknown(attribute: Attribute) -> String {
    let names: Vec<String> = attribute.options().iter().map(|name| format!("`{name}`")).collect();
    format!("unknown option of #[{}]: it has {}", attribute.name(), names.join(" and "))
}

fn driver(value: &Expr) -> syn::Result<Driver> {
    match string(value).as_str() {
        "auto" => Ok(Driver::Auto),
        "uring" => Ok(Driver::Uring),
        "epoll" => Ok(Driver::Epoll),
        _ => {
            let message = "the driver must be \"auto\", \"uring\" or \"epoll\"";
            Err(Error::new(value.span(), message))
        }
    }
}

fn ctrl_c(value: &Expr) -> syn::Result<CtrlC> {
    match string(value).as_str() {
        "default" => Ok(CtrlC::Default),
        "graceful" => Ok(CtrlC::Graceful),
        _ => {
            let message = "the option `ctrl_c` must be \"default\" or \"graceful\"";
            Err(Error::new(value.span(), message))
        }
    }
}

/// The value of a string literal. Other expressions are an empty string.
fn string(value: &Expr) -> String {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(name), .. }) => name.value(),
        _ => String::new(),
    }
}

fn boolean(value: &Expr) -> syn::Result<bool> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Bool(value), .. }) => Ok(value.value),
        _ => Err(Error::new(value.span(), "the value must be `true` or `false`")),
    }
}

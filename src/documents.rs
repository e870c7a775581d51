//! The documents of the repository. Their Rust blocks are compiled as doctests.
//!
//! `tests/tidy.rs` checks that each document of the root and of `docs/` is listed here.

macro_rules! documents {
    ($($name:ident: $path:literal,)*) => {$(
        #[doc = include_str!($path)]
        struct $name;
    )*};
}

documents! {
    Architecture: "../ARCHITECTURE.md",
    Changelog: "../CHANGELOG.md",
    Containers: "../docs/CONTAINERS.md",
    Decisions: "../docs/DECISIONS.md",
    Guide: "../docs/GUIDE.md",
    KernelFacts: "../docs/KERNEL-FACTS.md",
    HostilePeers: "../docs/HOSTILE-PEERS.md",
    Kernels: "../docs/KERNELS.md",
    Readme: "../README.md",
    Semantics: "../docs/SEMANTICS.md",
    Testing: "../docs/TESTING.md",
}

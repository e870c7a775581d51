//! The branches of a macro, as a list of different types.
//!
//! `End.and(a).and(b)` has the type `And<And<End, A>, B>`. The macros append one branch at a time,
//! and the traits of `select` and `join` recurse over the list. The compiler inlines the recursion,
//! so a branch costs what a hand-written poll costs.

/// A list without branches.
#[derive(Debug)]
pub struct End;

/// The branches of `former`, and then `last`.
#[derive(Debug)]
pub struct And<L, B> {
    pub(super) former: L,
    pub(super) last: B,
}

impl End {
    /// Appends a branch.
    pub fn and<B>(self, branch: B) -> And<End, B> {
        And { former: self, last: branch }
    }
}

impl<L, B> And<L, B> {
    /// Appends a branch.
    pub fn and<C>(self, branch: C) -> And<And<L, B>, C> {
        And { former: self, last: branch }
    }
}

/// The branch that is polled first, in each poll.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// Another one each time, so that no branch is always behind the others.
    Fair,
    /// The first one, as after `biased;`.
    Biased,
}

//! The tree of tokens: which tokens a cancel reaches.
//!
//! ```text
//!  insert            cancel of this node or of an ancestor
//! ────────▶ Live ─────────────────────────────────────────▶ Cancelled
//!            │ release of the last handle                      │ release of the last handle
//!            ▼                                                 ▼
//!         removed, its children move to its parent          removed
//! ```
//!
//! A node exists as long as a token refers to it. The children of a removed node become children
//! of its parent, so a cancel of an ancestor still reaches them, and a chain of tokens whose older
//! ones are dropped does not grow. A cancelled node has no links: nothing reaches it twice.
//!
//! Walks use a stack on the heap, so the depth of a tree is not limited by the thread's stack.
//!
//! **Absent on purpose.** User code. Wakers leave through the results of `cancel` and `release`.

use std::borrow::Cow;
use std::rc::Rc;

use slab::Slab;

use crate::sync::wait_list::{WaitList, Woken};

/// The text of a cancel. All tokens that the cancel has reached share it.
pub(super) type Reason = Option<Rc<Cow<'static, str>>>;

/// A token and all tokens that descend from it.
#[derive(Default)]
pub(super) struct Tree {
    nodes: Slab<Node>,
}

struct Node {
    /// Tokens that refer to this node.
    handles: usize,
    waiters: WaitList,
    state: NodeState,
}

enum NodeState {
    Live(Links),
    Cancelled(Reason),
}

/// The neighbours of a live node. `next` and `previous` are children of the same parent.
#[derive(Clone, Copy, Default)]
struct Links {
    parent: Option<usize>,
    first_child: Option<usize>,
    next: Option<usize>,
    previous: Option<usize>,
}

impl Tree {
    /// Adds a node with one handle, without a parent.
    pub(super) fn insert_root(&mut self) -> usize {
        self.insert(NodeState::Live(Links::default()))
    }

    /// Adds a node with one handle, as a child of `parent`. It is cancelled if `parent` is.
    pub(super) fn insert_child(&mut self, parent: usize) -> usize {
        if let NodeState::Cancelled(reason) = &self.nodes[parent].state {
            let reason = reason.clone();
            return self.insert(NodeState::Cancelled(reason));
        }
        let child = self.insert_root();
        self.link(child, parent);
        child
    }

    fn insert(&mut self, state: NodeState) -> usize {
        self.nodes.insert(Node { handles: 1, waiters: WaitList::default(), state })
    }

    /// Counts a further token that refers to the node.
    pub(super) fn retain(&mut self, index: usize) {
        self.nodes[index].handles += 1;
    }

    /// Counts one token less. Returns the waiters of a node that is removed: those that were
    /// forgotten.
    #[must_use = "dropping their wakers is user code"]
    pub(super) fn release(&mut self, index: usize) -> Option<WaitList> {
        let node = &mut self.nodes[index];
        node.handles -= 1;
        if node.handles > 0 {
            return None;
        }
        if let NodeState::Live(links) = node.state {
            self.unlink(index);
            self.move_children(links.first_child, links.parent);
        }
        Some(self.nodes.remove(index).waiters)
    }

    /// Cancels the node and all nodes below it that are not cancelled yet. Returns their waiters,
    /// those of a node before those of its children.
    pub(super) fn cancel(&mut self, index: usize, reason: Reason) -> Vec<Woken> {
        let mut woken = Vec::new();
        if self.is_cancelled(index) {
            return woken;
        }
        self.unlink(index);
        let mut stack = vec![index];
        while let Some(index) = stack.pop() {
            let node = &mut self.nodes[index];
            if node.waiters.is_waiting() {
                woken.push(node.waiters.wake_all());
            }
            let former = std::mem::replace(&mut node.state, NodeState::Cancelled(reason.clone()));
            let NodeState::Live(links) = former else {
                unreachable!("cancelled nodes have no links")
            };
            // The list begins with the youngest child, so the oldest is taken from the stack first.
            let mut next = links.first_child;
            while let Some(child) = next {
                stack.push(child);
                next = self.links(child).next;
            }
        }
        woken
    }

    pub(super) fn is_cancelled(&self, index: usize) -> bool {
        matches!(self.nodes[index].state, NodeState::Cancelled(_))
    }

    /// The reason of the cancel that reached the node first.
    pub(super) fn reason(&self, index: usize) -> Reason {
        match &self.nodes[index].state {
            NodeState::Live(_) => None,
            NodeState::Cancelled(reason) => reason.clone(),
        }
    }

    pub(super) fn waiters(&mut self, index: usize) -> &mut WaitList {
        &mut self.nodes[index].waiters
    }

    fn links(&mut self, index: usize) -> &mut Links {
        match &mut self.nodes[index].state {
            NodeState::Live(links) => links,
            NodeState::Cancelled(_) => panic!("node {index} is cancelled, and has a neighbour"),
        }
    }

    /// Makes `child` the first child of `parent`.
    fn link(&mut self, child: usize, parent: usize) {
        let next = self.links(parent).first_child.replace(child);
        if let Some(next) = next {
            self.links(next).previous = Some(child);
        }
        let links = self.links(child);
        (links.parent, links.next, links.previous) = (Some(parent), next, None);
    }

    /// Takes a live node out of the list of its parent's children.
    fn unlink(&mut self, index: usize) {
        let Links { parent, next, previous, .. } = *self.links(index);
        match (previous, parent) {
            (Some(previous), _) => self.links(previous).next = next,
            (None, Some(parent)) => self.links(parent).first_child = next,
            (None, None) => {}
        }
        if let Some(next) = next {
            self.links(next).previous = previous;
        }
    }

    /// Moves a list of children to another parent. Without one they are roots.
    fn move_children(&mut self, first_child: Option<usize>, parent: Option<usize>) {
        let mut next = first_child;
        while let Some(child) = next {
            next = self.links(child).next;
            match parent {
                Some(parent) => self.link(child, parent),
                None => {
                    let links = self.links(child);
                    (links.parent, links.next, links.previous) = (None, None, None);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enumeration::visit_all;

    const TOKENS: usize = 4;

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Root(usize),
        /// The second token becomes a child of the first.
        Child(usize, usize),
        Drop(usize),
        /// The reason is that of the token: the first has its own.
        Cancel(usize),
    }

    /// What the tree must do: tokens keep their ancestors, also those that were dropped.
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
    struct Model {
        tokens: [Option<ModelToken>; TOKENS],
    }

    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
    struct ModelToken {
        /// The living ancestors.
        ancestors: Vec<usize>,
        cancelled_by: Option<&'static str>,
    }

    fn reason_of(token: usize) -> &'static str {
        if token == 0 { "of the first" } else { "of another" }
    }

    impl Model {
        /// Whether a new token gets this number: the first that is free.
        fn is_next(&self, new: usize) -> bool {
            self.tokens.iter().position(Option::is_none) == Some(new)
        }

        /// Returns whether the event is possible.
        fn apply(&mut self, event: Event) -> bool {
            match event {
                Event::Root(new) if self.is_next(new) => {
                    self.tokens[new] = Some(ModelToken::default());
                }
                Event::Child(parent, new) if self.is_next(new) => {
                    let Some(mut token) = self.tokens[parent].clone() else { return false };
                    token.ancestors.push(parent);
                    token.ancestors.sort_unstable();
                    self.tokens[new] = Some(token);
                }
                Event::Drop(dropped) if self.tokens[dropped].is_some() => {
                    self.tokens[dropped] = None;
                    for token in self.tokens.iter_mut().flatten() {
                        token.ancestors.retain(|&ancestor| ancestor != dropped);
                    }
                }
                Event::Cancel(cancelled) if self.tokens[cancelled].is_some() => {
                    for (index, token) in self.tokens.iter_mut().enumerate() {
                        let Some(token) = token else { continue };
                        if index == cancelled || token.ancestors.contains(&cancelled) {
                            token.cancelled_by.get_or_insert(reason_of(cancelled));
                        }
                    }
                }
                _ => return false,
            }
            true
        }
    }

    /// Goal: a cancel reaches all descendants and no other token, the first reason stays, and a
    /// dropped token neither cancels nor separates its descendants from their ancestors.
    ///
    /// Method: every order of new roots, new children, drops and cancels of four tokens, against a
    /// table of ancestors. The number of nodes is that of the living tokens.
    ///
    /// Kills: children of a dropped token that become roots; a sibling that an unlinked node takes
    /// along; a second reason; a child of a cancelled token that is live; a node that stays.
    #[test]
    fn every_order_of_events_cancels_the_descendants() {
        let tokens = || 0..TOKENS;
        let mut events = vec![Event::Root(0), Event::Root(1)];
        for token in tokens() {
            events.extend([Event::Drop(token), Event::Cancel(token)]);
            events.extend(tokens().map(|parent| Event::Child(parent, token)));
        }
        let visited = visit_all(&events, |path| {
            let (mut tree, mut model) = (Tree::default(), Model::default());
            let mut indices = [0; TOKENS];
            for &event in path {
                if !model.apply(event) {
                    return None;
                }
                match event {
                    Event::Root(new) => indices[new] = tree.insert_root(),
                    Event::Child(parent, new) => indices[new] = tree.insert_child(indices[parent]),
                    Event::Drop(token) => drop(tree.release(indices[token])),
                    Event::Cancel(token) => {
                        let reason = Rc::new(Cow::from(reason_of(token)));
                        drop(tree.cancel(indices[token], Some(reason)));
                    }
                }
                for (&index, token) in indices.iter().zip(&model.tokens) {
                    let Some(token) = token else { continue };
                    let reason = tree.reason(index);
                    let text = reason.as_ref().map(|reason| &***reason);
                    assert_eq!(text, token.cancelled_by, "{event:?} in {model:?}");
                    assert_eq!(tree.is_cancelled(index), token.cancelled_by.is_some());
                }
                assert_eq!(tree.nodes.len(), model.tokens.iter().flatten().count());
            }
            Some((model, shape(&tree, &indices)))
        });
        assert!(visited.states > 1000, "{visited:?}");
    }

    /// The parent and the neighbours of each node, by the numbers of tokens, which may differ where
    /// no event has shown it yet.
    fn shape(tree: &Tree, indices: &[usize; TOKENS]) -> Vec<[Option<usize>; 5]> {
        let token = |index| indices.iter().position(|&known| known == index);
        let nodes = tree.nodes.iter().map(|(index, node)| match &node.state {
            NodeState::Cancelled(_) => [token(index), None, None, None, None],
            NodeState::Live(links) => {
                let Links { parent, first_child, next, previous } = *links;
                let neighbours = [parent, first_child, next, previous];
                let [a, b, c, d] = neighbours.map(|index| index.and_then(token));
                [token(index), a, b, c, d]
            }
        });
        let mut shape: Vec<_> = nodes.collect();
        shape.sort_unstable();
        shape
    }
}

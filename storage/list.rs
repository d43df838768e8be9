// SPDX-License-Identifier: GPL-2.0

//! Doubly linked lists through the slots of a [`Slab`]: links are indices, so every step is safe,
//! and taking an entry out of the middle needs nothing but its index.
//!
//! A slot can be on several lists at once through different [`Links`]; which one a list uses is
//! part of its type.

use crate::storage::slab::{
    Note,
    Slab,
    NONE, //
};
use core::marker::PhantomData;

/// Where an entry stands in one list.
#[derive(Clone, Copy)]
pub(crate) struct Links {
    prev: u32,
    next: u32,
}

impl Links {
    /// Not on a list.
    pub(crate) const NEW: Links = Links {
        prev: NONE,
        next: NONE,
    };
}

/// Selects the links that a kind of list uses in a `T`.
pub(crate) trait Through<T> {
    fn links(entry: &T) -> &Links;
    fn links_mut(entry: &mut T) -> &mut Links;
}

/// A list of slots of a slab, linked through `L`.
pub(crate) struct List<L> {
    head: u32,
    tail: u32,
    _through: PhantomData<L>,
}

impl<L> List<L> {
    pub(crate) const fn new() -> Self {
        List {
            head: NONE,
            tail: NONE,
            _through: PhantomData,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// Whether that entry is on this list, and no other.
    pub(crate) fn is_only(&self, index: u32) -> bool {
        self.head == index && self.tail == index
    }

    pub(crate) fn first(&self) -> Option<u32> {
        some(self.head)
    }

    pub(crate) fn next<T, N: Note>(slab: &Slab<T, N>, index: u32) -> Option<u32>
    where
        L: Through<T>,
    {
        some(L::links(&slab[index]).next)
    }

    /// Puts an entry at the beginning, if it is to be `first`, or at the end.
    #[inline(always)]
    pub(crate) fn push<T, N: Note>(&mut self, slab: &mut Slab<T, N>, index: u32, first: bool)
    where
        L: Through<T>,
    {
        *L::links_mut(&mut slab[index]) = if first {
            self.expect_front(slab, index)
        } else {
            self.expect_back(slab, index)
        };
    }

    pub(crate) fn push_back<T, N: Note>(&mut self, slab: &mut Slab<T, N>, index: u32)
    where
        L: Through<T>,
    {
        self.push(slab, index, false);
    }

    /// Makes room at the beginning for an entry that is about to be made, with these links.
    #[inline(always)]
    pub(crate) fn expect_front<T, N: Note>(&mut self, slab: &mut Slab<T, N>, index: u32) -> Links
    where
        L: Through<T>,
    {
        let next = self.head;
        if next == NONE {
            self.tail = index;
        } else {
            L::links_mut(&mut slab[next]).prev = index;
        }
        self.head = index;
        Links { prev: NONE, next }
    }

    /// Makes room at the end for an entry that is about to be made, with these links.
    #[inline(always)]
    pub(crate) fn expect_back<T, N: Note>(&mut self, slab: &mut Slab<T, N>, index: u32) -> Links
    where
        L: Through<T>,
    {
        let prev = self.tail;
        if prev == NONE {
            self.head = index;
        } else {
            L::links_mut(&mut slab[prev]).next = index;
        }
        self.tail = index;
        Links { prev, next: NONE }
    }

    /// Takes out an entry, which must be on this list.
    pub(crate) fn remove<T, N: Note>(&mut self, slab: &mut Slab<T, N>, index: u32)
    where
        L: Through<T>,
    {
        let links = L::links_mut(&mut slab[index]);
        let links = core::mem::replace(links, Links::NEW);
        self.close_gap(slab, links);
    }

    /// Joins what was on both sides of an entry that had these links, and is gone.
    #[inline(always)]
    pub(crate) fn close_gap<T, N: Note>(
        &mut self,
        slab: &mut Slab<T, N>,
        Links { prev, next }: Links,
    ) where
        L: Through<T>,
    {
        if prev == NONE {
            self.head = next;
        } else {
            L::links_mut(&mut slab[prev]).next = next;
        }
        if next == NONE {
            self.tail = prev;
        } else {
            L::links_mut(&mut slab[next]).prev = prev;
        }
    }
}

fn some(index: u32) -> Option<u32> {
    (index != NONE).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Here;

    impl Through<Links> for Here {
        fn links(entry: &Links) -> &Links {
            entry
        }

        fn links_mut(entry: &mut Links) -> &mut Links {
            entry
        }
    }

    fn walk(list: &List<Here>, slab: &Slab<Links>) -> Vec<u32> {
        core::iter::successors(list.first(), |at| List::<Here>::next(slab, *at)).collect()
    }

    #[test]
    fn both_ends_and_the_middle() {
        let mut slab = Slab::<Links>::new();
        let mut list = List::<Here>::new();
        let n: Vec<u32> = (0..4)
            .map(|_| slab.insert(Links::NEW, NONE).unwrap())
            .collect();
        list.push_back(&mut slab, n[1]);
        list.push_back(&mut slab, n[2]);
        list.push(&mut slab, n[0], true);
        list.push_back(&mut slab, n[3]);
        assert_eq!(walk(&list, &slab), n);
        list.remove(&mut slab, n[2]);
        assert_eq!(walk(&list, &slab), [n[0], n[1], n[3]]);
        list.remove(&mut slab, n[0]);
        list.remove(&mut slab, n[3]);
        assert_eq!(walk(&list, &slab), [n[1]]);
        assert!(list.is_only(n[1]) && !list.is_only(n[2]));
        list.remove(&mut slab, n[1]);
        assert!(list.is_empty() && !list.is_only(n[1]));
        assert_eq!(list.first(), None);
    }
}

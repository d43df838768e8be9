// SPDX-License-Identifier: GPL-2.0

//! What a file takes from others: every path in it that begins with `crate`, `super` or `self`,
//! in a `use` or elsewhere.

use crate::module::Name;
use proc_macro2::{
    Delimiter,
    TokenStream,
    TokenTree, //
};
use std::{
    iter::Peekable,
    slice::Iter, //
};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) line: usize,
    /// From the crate's root on; up to the `*`, if that is what is imported.
    pub(crate) name: Name,
}

/// Those of the module `here`.
pub(crate) fn imports(tokens: &TokenStream, here: &[String]) -> Vec<Import> {
    let mut found = Vec::new();
    search(tokens, here, &mut found);
    found
}

type Tokens<'a> = Peekable<Iter<'a, TokenTree>>;

fn search(tokens: &TokenStream, here: &[String], found: &mut Vec<Import>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut rest = tokens.iter().peekable();
    let mut inside = None;
    while let Some(token) = rest.next() {
        match token {
            TokenTree::Ident(word) if word == "mod" => {
                inside = rest.peek().map(|name| [here, &[name.to_string()]].concat());
            }
            TokenTree::Ident(word) => {
                if let Some(start) = start(&word.to_string(), here) {
                    if skip_colons(&mut rest) {
                        path(&mut rest, start, word.span().start().line, found);
                    }
                }
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                search(
                    &group.stream(),
                    inside.take().as_deref().unwrap_or(here),
                    found,
                );
            }
            TokenTree::Group(group) => search(&group.stream(), here, found),
            TokenTree::Punct(punct) if punct.as_char() == ';' => inside = None,
            _ => (),
        }
    }
}

/// Where a path goes on that begins with `word`.
fn start(word: &str, here: &[String]) -> Option<Name> {
    match word {
        "crate" => Some(Vec::new()),
        "self" => Some(here.to_vec()),
        "super" => here.split_last().map(|(_, outer)| outer.to_vec()),
        _ => None,
    }
}

fn skip_colons(rest: &mut Tokens<'_>) -> bool {
    let colon =
        |token: &&TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':');
    rest.next_if(colon).is_some() && rest.next_if(colon).is_some()
}

/// Follows a path, or the tree of paths of a `use`.
fn path(rest: &mut Tokens<'_>, mut name: Name, line: usize, found: &mut Vec<Import>) {
    loop {
        match rest.peek() {
            Some(TokenTree::Ident(word)) if *word == "super" => drop(name.pop()),
            Some(TokenTree::Ident(word)) if *word == "self" => (),
            Some(TokenTree::Ident(word)) => name.push(word.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                return branches(&group.stream(), &name, found);
            }
            _ => break,
        }
        rest.next();
        if !skip_colons(rest) {
            break;
        }
    }
    found.push(Import { line, name });
}

fn branches(tokens: &TokenStream, name: &Name, found: &mut Vec<Import>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let is_comma =
        |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    for branch in tokens.split(is_comma).filter(|branch| !branch.is_empty()) {
        let line = branch[0].span().start().line;
        path(&mut branch.iter().peekable(), name.clone(), line, found);
    }
}

#[test]
fn all_ways_to_write_an_import_are_seen() {
    let source = r#"
        //! crate::comment::is_none
        use crate::{a::B, c::{self, d, e::*}};
        use super::f as g;
        mod inside {
            fn h() -> super::I { let text = "crate::text"; self.j; self::k::<u8>() }
            mod deeper { use super::super::l; }
        }
        macro_rules! m { () => { $crate::n::O { p: q } } }
        use core::r;
    "#;
    let here = ["room".to_owned(), "file".to_owned()];
    let found = imports(&source.parse().unwrap(), &here);
    let found: Vec<_> = found
        .iter()
        .map(|import| (import.line, import.name.join("::")))
        .collect();
    let expected = [
        (3, "a::B"),
        (3, "c"),
        (3, "c::d"),
        (3, "c::e"),
        (4, "room::f"),
        (6, "room::file::I"),
        (6, "room::file::inside::k"),
        (7, "room::file::l"),
        (9, "n::O"),
    ];
    assert_eq!(found, expected.map(|(line, name)| (line, name.to_owned())));
}

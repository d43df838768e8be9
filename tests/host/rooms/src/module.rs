// SPDX-License-Identifier: GPL-2.0

//! The module's sources: the files beside `dlm_device.rs`, and those in folders of their names.

use crate::imports::{
    imports,
    Import, //
};
use proc_macro2::{
    TokenStream,
    TokenTree, //
};
use std::{
    fs,
    path::Path, //
};

/// A name in the module: `["lock_table", "granting"]`, and what is in there.
pub(crate) type Name = Vec<String>;

pub(crate) struct File {
    /// That of the module it is.
    pub(crate) name: Name,
    pub(crate) imports: Vec<Import>,
    text: String,
    tokens: TokenStream,
}

pub(crate) struct Module {
    /// In the order of their names.
    pub(crate) files: Vec<File>,
}

impl File {
    pub(crate) fn new(name: &[&str], text: &str) -> File {
        let name: Name = name.iter().map(|part| part.to_string()).collect();
        let tokens = text
            .parse()
            .unwrap_or_else(|error| panic!("{} is no Rust: {error}", name.join("/")));
        File {
            imports: imports(&tokens, &name),
            name,
            text: text.to_owned(),
            tokens,
        }
    }

    pub(crate) fn path(&self) -> String {
        self.name.join("/") + ".rs"
    }

    /// What its first comment says it is, up to the end of the sentence.
    pub(crate) fn purpose(&self) -> Vec<String> {
        let comment = self
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("//! "));
        let mut words: Vec<String> = comment
            .flat_map(str::split_whitespace)
            .map(|word| word.replace(['`', '[', ']'], ""))
            .collect();
        let end = words.iter().position(|word| word.ends_with('.'));
        words.truncate(end.map_or(0, |end| end + 1));
        words
    }

    pub(crate) fn lines_with_unsafe(&self) -> impl Iterator<Item = usize> {
        let mut lines = Vec::new();
        find_unsafe(&self.tokens, &mut lines);
        lines.into_iter()
    }

    /// What is for tests only goes from its attribute to the first line that ends an item and is
    /// indented like it.
    pub(crate) fn length_without_tests(&self) -> usize {
        let mut length = 0;
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            match line.strip_suffix("#[cfg(test)]") {
                Some(indent) => {
                    lines.find(|line| {
                        let rest = line.strip_prefix(indent);
                        rest.is_some_and(|rest| {
                            !rest.starts_with(' ') && rest.ends_with(['}', ';'])
                        })
                    });
                }
                None => length += 1,
            }
        }
        length
    }
}

fn find_unsafe(tokens: &TokenStream, lines: &mut Vec<usize>) {
    for token in tokens.clone() {
        match token {
            TokenTree::Ident(word) if word == "unsafe" => lines.push(word.span().start().line),
            TokenTree::Group(group) => find_unsafe(&group.stream(), lines),
            _ => (),
        }
    }
}

impl Module {
    pub(crate) fn new(mut files: Vec<File>) -> Module {
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Module { files }
    }

    pub(crate) fn read(top: &Path) -> Module {
        let mut files = Vec::new();
        read_folder(top, &mut Vec::new(), &mut files);
        Module::new(files)
    }

    /// The file that a name leads to: the one that defines it, not the one that passes it on.
    pub(crate) fn defines(&self, name: &[String]) -> Option<&File> {
        let file = self.deepest(name)?;
        let Some(inside) = name.get(file.name.len()) else {
            return Some(file);
        };
        let passed_on = file.imports.iter().find(|import| {
            import.name.last() == Some(inside)
                && import.name.starts_with(&file.name)
                && import.name != name
        });
        match passed_on {
            Some(import) => self.defines(&import.name),
            None => Some(file),
        }
    }

    fn deepest(&self, name: &[String]) -> Option<&File> {
        let on_the_way = self
            .files
            .iter()
            .filter(|file| name.starts_with(&file.name));
        on_the_way.max_by_key(|file| file.name.len())
    }
}

/// Reads a folder's Rust files, and the folders that are named like one of them.
fn read_folder(folder: &Path, name: &mut Name, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default()
            .to_owned();
        if path.extension().is_some_and(|extension| extension == "rs") {
            name.push(stem);
            let parts: Vec<&str> = name.iter().map(String::as_str).collect();
            files.push(File::new(&parts, &fs::read_to_string(&path).unwrap()));
            let inside = path.with_extension("");
            if inside.is_dir() {
                read_folder(&inside, name, files);
            }
            name.pop();
        }
    }
}

#[test]
fn unsafe_is_seen_wherever_it_stands() {
    let source = "
        // unsafe
        fn safe() -> &'static str { \"unsafe\" }
        unsafe impl Send for A {}
        macro_rules! m { () => { unsafe { f() } } }
    ";
    let lines: Vec<usize> = File::new(&["a"], source).lines_with_unsafe().collect();
    assert_eq!(lines, [4, 5]);
}

#[test]
fn tests_do_not_count() {
    let source = "\
//! One.
impl Two {
    #[cfg(test)]
    fn left_out(&self) {
        let this = 0;
    }

    fn four() {}
}
#[cfg(test)]
mod left_out_too;
const SIX: u32 = 0;
#[cfg(test)]
mod tests {
    fn all_of_it() {}
}
";
    assert_eq!(File::new(&["a"], source).length_without_tests(), 6);
}

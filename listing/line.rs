// SPDX-License-Identifier: GPL-2.0

//! A line of a table, word by word.

use crate::{
    kernel_edge::write_bytes,
    terms::NAME_MAX, //
};
use kernel::seq_file::SeqFile;

/// A line of words, a space between two. It is put together here, since a shard is locked meanwhile, and
/// to have the kernel format it takes more than twice as long.
pub(super) struct Line {
    bytes: [u8; Line::ROOM],
    length: usize,
    /// The next word is not the first.
    begun: bool,
}

impl Line {
    /// For two names, and all else that is in a line.
    const ROOM: usize = 2 * 4 * NAME_MAX + 128;

    pub(super) fn new() -> Self {
        Line {
            bytes: [0; Line::ROOM],
            length: 0,
            begun: false,
        }
    }

    /// Begins anew with this, which the words follow.
    pub(super) fn begin(&mut self, beginning: &[u8]) {
        self.length = 0;
        self.begun = false;
        self.push(beginning);
    }

    /// Appends bytes, for which there is room.
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = *byte;
                self.length += 1;
            }
        }
    }

    fn begin_word(&mut self) {
        if self.begun {
            self.push(b" ");
        }
        self.begun = true;
    }

    pub(super) fn word(&mut self, word: &str) {
        self.begin_word();
        self.push(word.as_bytes());
    }

    /// A name: what is no visible character, and `\`, is `\` and three octal digits.
    pub(super) fn name(&mut self, name: &[u8]) {
        self.begin_word();
        for byte in name {
            let digit = |shift: u32| b'0' + (byte >> shift & 7);
            match byte {
                b'!'..=b'~' if *byte != b'\\' => self.push(&[*byte]),
                _ => self.push(&[b'\\', digit(6), digit(3), digit(0)]),
            }
        }
    }

    pub(super) fn decimal(&mut self, number: u64) {
        self.number(number, 10);
    }

    pub(super) fn hexadecimal(&mut self, number: u32) {
        self.number(number.into(), 16);
    }

    fn number(&mut self, mut number: u64, base: u64) {
        let mut digits = [0; 20];
        let mut count = 0;
        for place in digits.iter_mut().rev() {
            *place = b"0123456789abcdef"[(number % base) as usize];
            number /= base;
            count += 1;
            if number == 0 {
                break;
            }
        }
        self.begin_word();
        self.push(&digits[digits.len() - count..]);
    }

    pub(super) fn write(&mut self, out: &SeqFile) {
        self.push(b"\n");
        write_bytes(out, self.bytes.get(..self.length).unwrap_or_default());
    }
}

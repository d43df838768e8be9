// SPDX-License-Identifier: GPL-2.0

//! actor PLAYLIST - play in this guest what the file says, and print what was answered.

use dlm_device_oracle::{
    play::play,
    playlist,
    stage::Stage, //
};
use std::{
    fs,
    io::{self, BufWriter},
    process::ExitCode,
};

fn act() -> io::Result<()> {
    let playlist = std::env::args()
        .nth(1)
        .ok_or(io::Error::other("usage: actor PLAYLIST"))?;
    let entries = playlist::parse(&fs::read_to_string(playlist)?).map_err(io::Error::other)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut stage = Stage::build()?;
    let mut number = 0;
    playlist::each(&entries, |name, program, care, all| {
        number += 1;
        let played = play(&mut stage, program, number, care)
            .map_err(|error| io::Error::other(format!("{name}, {error}")))?;
        playlist::write_answer(&mut out, &name, &played, all)
    })?;
    let sayings = stage.strike()?;
    playlist::write_end(&mut out, &sayings)
}

fn main() -> ExitCode {
    match act() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: the actor: {error}");
            ExitCode::FAILURE
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Rooms as a picture: floor by floor, each a box, and on the right a line down to each room that
//! others import, with a dot where one does.

use crate::{
    module::Module,
    plan::{
        Plan,
        Room, //
    },
};
use std::{
    fmt::Write,
    iter::once, //
};

const MARGIN: usize = 24;
const BOX_LEFT: usize = MARGIN + 40;
const BOX_WIDTH: usize = 470;
const BOX_RIGHT: usize = BOX_LEFT + BOX_WIDTH;
const PADDING: usize = 14;
/// Between the lines on the right.
const COLUMN: usize = 38;
const LINE_HEIGHT: usize = 17;
/// Characters that fit into a line of a box.
const LETTERS: usize = 64;
const BETWEEN_BOXES: usize = 10;
const BETWEEN_FLOORS: usize = 14;

/// In the order in which they are used: neighbours are easy to tell apart.
const COLOURS: [&str; 11] = [
    "#3a5f8a", "#b7410e", "#4b7f3a", "#8a4f8f", "#b08900", "#2a8a8a", "#a03050", "#5f5f5f",
    "#5a9bd4", "#8b5a2b", "#7aa61e",
];

const STYLE: &str = "
text { font-family: 'DejaVu Sans', Verdana, sans-serif; font-size: 12px; fill: #444 }
.name { font-family: 'DejaVu Sans Mono', Menlo, monospace; font-size: 14px; font-weight: bold; fill: #111 }
.files { font-family: 'DejaVu Sans Mono', Menlo, monospace; font-size: 11px; fill: #777 }
.number { font-size: 18px; fill: #999; text-anchor: middle }
.way { fill: none; stroke-width: 2 }
.from { stroke: #c4c0b8; stroke-width: 2 }
";

/// One room, and where it is drawn.
struct Row<'a> {
    room: &'a Room,
    purpose: Vec<String>,
    files: Vec<String>,
    top: usize,
}

impl Row<'_> {
    fn height(&self) -> usize {
        PADDING + LINE_HEIGHT * (1 + self.purpose.len() + self.files.len()) + PADDING / 2
    }

    fn bottom(&self) -> usize {
        self.top + self.height()
    }

    /// Where those come in who import it.
    fn entrance(&self) -> usize {
        self.top + self.height() / 3
    }

    /// Where its own imports leave.
    fn exit(&self) -> usize {
        self.top + self.height() * 2 / 3
    }

    fn draw(&self, svg: &mut String) {
        rectangle(
            svg,
            BOX_LEFT,
            self.top,
            BOX_WIDTH,
            self.height(),
            "white' stroke='#b8b2a6' rx='4",
        );
        let name = once(("name", self.room.name.last().cloned().unwrap_or_default()));
        let purpose = self.purpose.iter().map(|line| ("purpose", line.clone()));
        let files = self.files.iter().map(|line| ("files", line.clone()));
        for (n, (class, line)) in name.chain(purpose).chain(files).enumerate() {
            text(
                svg,
                class,
                BOX_LEFT + PADDING,
                self.top + PADDING + 8 + n * LINE_HEIGHT,
                &line,
            );
        }
    }
}

/// Draws the house, or what is inside one of its rooms.
pub(crate) fn draw(plan: &Plan, module: &Module, inside: &[&str]) -> String {
    let level = plan.level(inside);
    let rows = rows(&level, module);
    let ways = plan.ways(&level, module);
    let row = |room: &Room| rows.iter().find(|row| row.room == room);
    let is_imported = |row: &&Row<'_>| ways.iter().any(|(_, to)| *to == row.room);
    let columns: Vec<&Row<'_>> = rows.iter().filter(is_imported).collect();
    let width = BOX_RIGHT + COLUMN * (columns.len() + 1) + MARGIN;
    let height = rows.last().map_or(0, Row::bottom) + MARGIN * 2 + LINE_HEIGHT;

    let mut svg = String::new();
    writeln!(svg, "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}'>").unwrap();
    svg += "<!-- SPDX-License-Identifier: GPL-2.0 -->\n<!-- Drawn from the sources by tests/host/rooms. -->\n";
    writeln!(svg, "<style>{STYLE}</style>").unwrap();
    rectangle(&mut svg, 0, 0, width, height, "white");
    floors(&mut svg, &rows, width);

    for importer in &rows {
        let at = |column: usize| BOX_RIGHT + COLUMN * (column + 1);
        let imported: Vec<usize> = (0..columns.len())
            .filter(|&column| ways.contains(&(importer.room, columns[column].room)))
            .collect();
        if let Some(&last) = imported.last() {
            let (y, end) = (importer.exit(), at(last));
            writeln!(svg, "<path class='from' d='M{BOX_RIGHT} {y}H{end}'/>").unwrap();
        }
    }
    for (column, imported) in columns.iter().enumerate() {
        let x = BOX_RIGHT + COLUMN * (column + 1);
        let colour = COLOURS[column % COLOURS.len()];
        let importers = ways.iter().filter(|(_, to)| *to == imported.room);
        let exits: Vec<usize> = importers
            .filter_map(|(from, _)| Some(row(from)?.exit()))
            .collect();
        let start = exits.iter().min().unwrap();
        let (y, tip) = (imported.entrance(), BOX_RIGHT + 2);
        writeln!(
            svg,
            "<path class='way' stroke='{colour}' d='M{x} {start}V{y}H{}'/>",
            tip + 6
        )
        .unwrap();
        writeln!(svg, "<path fill='{colour}' d='M{tip} {y}l9 -4.5v9z'/>").unwrap();
        for y in exits {
            writeln!(svg, "<circle cx='{x}' cy='{y}' r='4.5' fill='{colour}'/>").unwrap();
        }
    }
    for row in &rows {
        row.draw(&mut svg);
    }
    let legend =
        "A dot: the box on the left of it imports the one that the dot's line leads down to.";
    text(&mut svg, "legend", BOX_LEFT, height - MARGIN, legend);
    svg + "</svg>\n"
}

/// From the top floor down, and on each in the order of the document.
fn rows<'a>(level: &[&'a Room], module: &Module) -> Vec<Row<'a>> {
    let mut rooms = level.to_vec();
    rooms.sort_by(|a, b| b.floor.cmp(&a.floor));
    let mut rows: Vec<Row<'a>> = Vec::new();
    for room in rooms {
        let top = match rows.last() {
            None => MARGIN + BETWEEN_FLOORS,
            Some(above) if above.room.floor == room.floor => above.bottom() + BETWEEN_BOXES,
            Some(above) => above.bottom() + BETWEEN_FLOORS * 2,
        };
        let files = module
            .files
            .iter()
            .filter(|file| file.name.starts_with(&room.name));
        let (head, inside): (Vec<_>, Vec<_>) = files.partition(|file| file.name == room.name);
        let names = inside
            .iter()
            .map(|file| file.name[room.name.len()..].join("/"));
        rows.push(Row {
            room,
            purpose: wrapped(head.iter().flat_map(|file| file.purpose()).collect()),
            files: wrapped(names.collect()),
            top,
        });
    }
    rows
}

/// Words, in lines that fit into a box.
fn wrapped(words: Vec<String>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= LETTERS => {
                *line = format!("{line} {word}")
            }
            _ => lines.push(word),
        }
    }
    lines
}

fn floors(svg: &mut String, rows: &[Row<'_>], width: usize) {
    for floor in rows.chunk_by(|a, b| a.room.floor == b.room.floor) {
        let (Some(first), Some(last)) = (floor.first(), floor.last()) else {
            continue;
        };
        let top = first.top - BETWEEN_FLOORS / 2;
        let height = last.bottom() + BETWEEN_FLOORS / 2 - top;
        rectangle(
            svg,
            MARGIN,
            top,
            width - 2 * MARGIN,
            height,
            "#f4f1ea' rx='6",
        );
        let number = first
            .room
            .floor
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(".");
        text(svg, "number", MARGIN + 20, top + height / 2 + 7, &number);
    }
}

fn rectangle(svg: &mut String, x: usize, y: usize, width: usize, height: usize, fill: &str) {
    writeln!(
        svg,
        "<rect x='{x}' y='{y}' width='{width}' height='{height}' fill='{fill}'/>"
    )
    .unwrap();
}

fn text(svg: &mut String, class: &str, x: usize, y: usize, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(svg, "<text class='{class}' x='{x}' y='{y}'>{text}</text>").unwrap();
}

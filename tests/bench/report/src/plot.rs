// SPDX-License-Identifier: GPL-2.0

//! A picture of a row that scales: both modules, by size.

use crate::{results::RowResult, samples::Series, table::grouped};
use anyhow::Result;
use plotters::prelude::*;
use std::path::Path;

const SIZE: (u32, u32) = (720, 400);
const OURS: RGBColor = RGBColor(0xb7, 0x41, 0x0e);
const THEIRS: RGBColor = RGBColor(0x3a, 0x5f, 0x8a);
const FLOOR: RGBColor = RGBColor(0x90, 0x90, 0x90);

pub(crate) fn plot(result: &RowResult, path: &Path) -> Result<()> {
    let lines = [
        ("fs/dlm", &result.dlm, THEIRS),
        ("dlm_device", &result.dlm_device, OURS),
        ("the same system calls, doing nothing", &result.floor, FLOOR),
    ];
    let points = || lines.iter().flat_map(|(_, series, _)| series.iter());
    let smallest = points().map(|(n, _)| *n).min().unwrap_or(1);
    let largest = points().map(|(n, _)| *n).max().unwrap_or(1);
    let least = points()
        .map(|(_, s)| s.least)
        .fold(f64::MAX, f64::min)
        .max(1.0);
    let most = points().map(|(_, s)| s.most).fold(1.0, f64::max);

    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(&result.title, ("sans-serif", 18))
        .margin(12)
        .margin_right(32)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(
            (f64::from(smallest)..f64::from(largest)).log_scale(),
            (least / 2.0..most * 2.0).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("n")
        .y_desc(&result.unit)
        .x_label_formatter(&|n| grouped(*n))
        .y_label_formatter(&|value| grouped(*value))
        .light_line_style(WHITE)
        .draw()?;
    for (name, series, colour) in lines.iter().filter(|(_, series, _)| !series.is_empty()) {
        let medians = |series: &Series| -> Vec<(f64, f64)> {
            series
                .iter()
                .map(|(n, s)| (f64::from(*n), s.median))
                .collect()
        };
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(medians(series), style).point_size(3))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
        chart.draw_series(series.iter().map(|(n, s)| {
            let n = f64::from(*n);
            PathElement::new([(n, s.least), (n, s.most)], colour.stroke_width(5))
        }))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .draw()?;
    area.present()?;
    Ok(())
}

//! A plot as SVG: panels of lines, whose axes start at zero.

use std::fmt::Write as _;

/// One line, from left to right.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// One of the plots, with a title that has the unit.
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) lines: Vec<Line>,
}

/// Colours that colour-blind people can tell apart (Okabe and Ito), on white and on black.
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];
/// The size of a panel, and the room around its axes, in pixels.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 36.0;
const RIGHT: f64 = 20.0;
const BOTTOM: f64 = 36.0;
/// How many panels stand side by side.
const COLUMNS: usize = 2;
const LEGEND: f64 = 30.0;

/// The panels, two in a row, above one legend that also says what `across` is.
pub(crate) fn plot(panels: &[Panel], across: &str) -> String {
    let rows = panels.len().div_ceil(COLUMNS);
    let (width, height) = (WIDTH * COLUMNS as f64, HEIGHT * rows as f64 + LEGEND);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (at, panel) in panels.iter().enumerate() {
        let (x, y) = (WIDTH * (at % COLUMNS) as f64, HEIGHT * (at / COLUMNS) as f64);
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        draw(panel, &mut svg);
        svg.push_str("</g>\n");
    }
    let names = panels.first().into_iter().flat_map(|panel| &panel.lines).map(|line| line.name);
    let mut x = LEFT;
    for (name, colour) in names.zip(COLOURS) {
        let y = height - LEGEND / 2.0;
        let _ = writeln!(svg, "<path d=\"M{x} {y}h24\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{name}</text>", x + 30.0, y + 4.0);
        x += 60.0 + 7.0 * name.len() as f64;
    }
    let (x, y) = (width - RIGHT, height - LEGEND / 2.0 + 4.0);
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\">across: {across}</text>");
    svg + "</svg>\n"
}

fn draw(panel: &Panel, svg: &mut String) {
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let (most_x, most_y) = (nice(points().map(|point| point.0)), nice(points().map(|point| point.1)));
    let (wide, high) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let x = |value: f64| LEFT + value / most_x * wide;
    let y = |value: f64| TOP + high - value / most_y * high;
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"20\" font-weight=\"bold\">{}</text>", panel.title);
    for quarter in 0..=4 {
        let (across, up) = (most_x * f64::from(quarter) / 4.0, most_y * f64::from(quarter) / 4.0);
        let _ = writeln!(svg, "<path d=\"M{LEFT} {}h{wide}\" stroke=\"#ddd\"/>", y(up));
        let label = |value: f64| if value == value.trunc() { format!("{value}") } else { format!("{value:.2}") };
        let _ =
            writeln!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", LEFT - 6.0, y(up) + 4.0, label(up));
        let below = HEIGHT - BOTTOM + 18.0;
        let _ =
            writeln!(svg, "<text x=\"{}\" y=\"{below}\" text-anchor=\"middle\">{}</text>", x(across), label(across));
    }
    for (line, colour) in panel.lines.iter().zip(COLOURS) {
        let path: Vec<_> = line.points.iter().map(|(across, up)| format!("{:.1},{:.1}", x(*across), y(*up))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for (across, up) in &line.points {
            let _ = writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", x(*across), y(*up));
        }
    }
}

/// The end of an axis: the next of 1, 1.6, 2, 4, 6, 8 times a power of ten.
fn nice(values: impl Iterator<Item = f64>) -> f64 {
    let most = values.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(most.log10().floor());
    [1.0, 1.6, 2.0, 4.0, 6.0, 8.0, 10.0].into_iter().map(|step| step * power).find(|end| *end >= most).unwrap_or(most)
}

use super::state::{Row, Top};
use crate::model::Status;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row as TableRow, Table, TableState};

const KEYS: &str = "q quit  / search  a acknowledge  s silence  p pause  r run now";

/// Draws it, and gives how many rows have room.
pub(super) fn draw(frame: &mut Frame<'_>, top: &Top) -> usize {
    let [head, body, said, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(2),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(headline(top), head);
    let (rows, chosen) = top.seen();
    let bars = usize::from(body.width / 4).clamp(10, 60);
    let widths = [
        Constraint::Fill(2),
        Constraint::Length(10),
        Constraint::Length(10),
        Constraint::Length(u16::try_from(bars).unwrap_or(10)),
        Constraint::Length(10),
        Constraint::Fill(3),
    ];
    let header = TableRow::new(["CHECK", "KIND", "STATUS", "LATEST", "LATENCY", "WHY"]);
    let rows = rows.into_iter().map(|row| table_row(top, row, bars));
    let table = Table::new(rows, widths)
        .header(header.style(Modifier::BOLD))
        .row_highlight_style(Modifier::REVERSED);
    frame.render_stateful_widget(table, body, &mut TableState::new().with_selected(chosen));
    let (words, is_bad) = top.said();
    frame.render_widget(if is_bad { words.red() } else { words.into() }, said);
    frame.render_widget(KEYS.dim(), keys);
    usize::from(body.height).saturating_sub(1)
}

fn headline(top: &Top) -> Line<'_> {
    let mut parts: Vec<Span<'_>> = Vec::new();
    for status in [Status::Down, Status::Degraded, Status::Unknown, Status::Up] {
        let count = top.rows().filter(|row| row.status == status).count();
        let part = Span::styled(format!("{count} {status}  "), style(status));
        parts.push(if count == 0 { part.dim() } else { part });
    }
    if let (Some(wanted), typing) = top.searched() {
        parts.push(format!("/{wanted}{}", if typing { "▏" } else { "" }).into());
    }
    parts.into()
}

fn table_row<'a>(top: &Top, row: &'a Row, bars: usize) -> TableRow<'a> {
    let word = if row.paused { "paused" } else { row.status.as_str() };
    let latency = row.latency_ms.map(|millis| match millis {
        ..10.0 => format!("{millis:.1} ms"),
        ..10_000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.0} s", millis / 1000.0),
    });
    TableRow::new([
        Cell::from(row.name.as_str()),
        Cell::from(row.kind.as_str()),
        Cell::from(Span::styled(word, style(row.status))),
        Cell::from(history(top, row, bars)),
        Cell::from(latency.unwrap_or_default()),
        Cell::from(row.reasons.as_str()),
    ])
}

/// The latest results, each a sign: the colour is not the only way to tell them apart.
fn history<'a>(top: &Top, row: &Row, bars: usize) -> Line<'a> {
    let mut latest: Vec<Status> = top.results(&row.name).rev().take(bars).collect();
    latest.reverse();
    let sign = |status: Status| match status {
        Status::Up => "▁",
        Status::Degraded => "▄",
        Status::Down => "█",
        Status::Unknown => "?",
    };
    latest.into_iter().map(|status| Span::styled(sign(status), style(status))).collect()
}

fn style(status: Status) -> Style {
    Style::new().fg(match status {
        Status::Up => Color::Green,
        Status::Degraded => Color::Yellow,
        Status::Down => Color::Red,
        Status::Unknown => Color::DarkGray,
    })
}

#[cfg(test)]
mod tests {
    use super::super::state::{Top, tests::row};
    use super::draw;
    use crate::model::Status;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    #[test]
    fn the_list_fits_a_small_terminal() {
        let mut top = Top::default();
        top.set_height(3);
        top.take(vec![row("core-db", Status::Up, "1"), row("shop-api", Status::Down, "1")]);
        top.take_results("shop-api", vec![Status::Up, Status::Degraded, Status::Down]);
        top.say("shop-api is down".to_owned());
        let mut terminal = Terminal::new(TestBackend::new(76, 6)).unwrap();
        terminal.draw(|frame| assert_eq!(draw(frame, &top), 2)).unwrap();
        insta::assert_snapshot!(terminal.backend(), @r#"
        "1 down  0 degraded  0 unknown  1 up                                         "
        "CHECK     KIND       STATUS     LATEST              LATENCY    WHY          "
        "shop-api  http       down       ▁▄█                 12 ms      status is 503"
        "core-db   http       up                             12 ms                   "
        "shop-api is down                                                            "
        "q quit  / search  a acknowledge  s silence  p pause  r run now              "
        "#);
    }
}

//! What people and machines read of a verdict: goldens of the terminal, the JSON and the page.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod fixture;

use plimsoll::harness::report::terminal::{self, TerminalStyle};
use plimsoll::harness::report::{html, json};

/// Writes the example's outputs into the folder that PLIMSOLL_LOOK names, to be looked at.
#[test]
fn look() {
    let Ok(folder) = std::env::var("PLIMSOLL_LOOK") else {
        return;
    };
    let example = fixture::regression();
    let t = std::time::Instant::now();
    let page = html::render(&example.input());
    eprintln!("page {} bytes in {:?}", page.len(), t.elapsed());
    std::fs::write(format!("{folder}/regression.html"), page).unwrap();
    for (name, width, colour, ascii) in [
        ("t80", 80, false, false),
        ("t100c", 110, true, false),
        ("t40", 40, false, false),
        ("t80a", 80, false, true),
    ] {
        std::fs::write(
            format!("{folder}/{name}.txt"),
            terminal::render(
                &example.input(),
                TerminalStyle {
                    colour,
                    width,
                    ascii,
                },
            ),
        )
        .unwrap();
    }
    std::fs::write(
        format!("{folder}/r.json"),
        json::render(&json::Report::new(&example.input())),
    )
    .unwrap();
    let example = fixture::single();
    std::fs::write(
        format!("{folder}/single.html"),
        html::render(&example.input()),
    )
    .unwrap();
    std::fs::write(
        format!("{folder}/single.txt"),
        terminal::render(
            &example.input(),
            TerminalStyle {
                colour: false,
                width: 80,
                ascii: false,
            },
        ),
    )
    .unwrap();
}

//! What a page shows of a command's output, against what it prints.

use regex::Regex;

/// A line that stands for lines that are left out.
const LEFT_OUT: &str = "…";

/// A line without what depends on the clock; `None` for one that is not compared at all.
fn steady(line: &str) -> Option<String> {
    if line.starts_with("wrote ") {
        return None;
    }
    let elapsed = Regex::new(r" in [0-9.]+ (ms|s)\b").expect("it is a constant that parses");
    Some(elapsed.replace_all(line.trim_end(), " in TIME").into_owned())
}

fn all_steady<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut steady: Vec<String> = lines.into_iter().filter_map(steady).collect();
    while steady.last().is_some_and(String::is_empty) {
        steady.pop();
    }
    steady
}

/// The parts of what is shown, between lines that are left out.
fn parts(shown: &[String]) -> Vec<&[String]> {
    shown.split(|line| line.trim() == LEFT_OUT).collect()
}

/// In what the lines shown differ from those printed.
pub fn difference(shown: &[String], printed: &[&str]) -> Option<String> {
    let printed = all_steady(printed.iter().copied());
    let parts = parts(shown);
    let last = parts.len() - 1;
    let mut at = 0;
    for (index, part) in parts.iter().enumerate() {
        let part = all_steady(part.iter().map(String::as_str));
        if part.is_empty() && last > 0 {
            continue;
        }
        let rest = &printed[at..];
        let found = match (index == 0, index == last) {
            (true, true) => (rest == part).then_some(0),
            (true, false) => rest.starts_with(&part).then_some(0),
            (false, true) => rest.ends_with(&part).then(|| rest.len() - part.len()),
            (false, false) => rest.windows(part.len()).position(|lines| lines == part),
        };
        let Some(found) = found else {
            return Some(format!("shown\n{}\nprinted\n{}", part.join("\n"), rest.join("\n")));
        };
        at += found + part.len();
    }
    None
}

/// What the page would have to show: the same parts, each from where its first line is likeliest to stand.
pub fn bless(shown: &[String], printed: &[&str]) -> Vec<String> {
    let whole = || printed.iter().map(|line| line.trim_end().to_owned()).collect();
    let parts = parts(shown);
    if parts.len() == 1 {
        return whole();
    }
    let last = parts.len() - 1;
    let mut lines: Vec<String> = Vec::new();
    let mut at = 0;
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            lines.push(LEFT_OUT.to_owned());
        }
        let Some(first) = part.first() else { continue };
        let count = part.len().min(printed.len() - at);
        let rest = &printed[at..];
        let begin = match index {
            0 => 0,
            _ if index == last => rest.len() - count,
            _ => {
                let likely = |line: &usize| (alike(first, rest[*line]), usize::MAX - line);
                (0..=rest.len() - count).max_by_key(likely).unwrap_or(0)
            }
        };
        lines.extend(rest[begin..begin + count].iter().map(|line| line.trim_end().to_owned()));
        at += begin + count;
    }
    lines
}

/// How many characters two lines have in common from their beginning: without figures, which change, and with them.
fn alike(a: &str, b: &str) -> (usize, usize) {
    let common = |a: &str, b: &str| a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let bare = |text: &str| -> String { text.chars().filter(|c| !c.is_ascii_digit()).collect() };
    (common(&bare(a), &bare(b)), common(a, b))
}

#[test]
fn what_is_shown_is_compared() {
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    let printed = ["a 1 in 0.3 s", "b", "c  ", "wrote x and 3 more", "d 4", ""];
    let check = |shown: &str, same: bool| {
        assert_eq!(difference(&lines(shown), &printed).is_none(), same, "{shown}");
    };
    check("a 1 in 2.0 s\nb\nc\nd 4", true);
    check("a 1 in 2.0 s\nb\nc\nwrote y\nd 4", true);
    check("a 2 in 2.0 s\nb\nc\nd 4", false);
    check("a 1 in 2.0 s\nb\nc", false);
    check("", false);
    check("a 1 in 2.0 s\n…", true);
    check("…\nc\n…", true);
    check("…\nb\n…\nd 4", true);
    check("…\nd 4\n…\nb\n…", false);
    check("…\nc", false);
    assert_eq!(bless(&lines("…\nd 3"), &printed[..5]), ["…", "d 4"]);
    assert_eq!(bless(&lines("x\n…\nc 7\n…"), &printed), ["a 1 in 0.3 s", "…", "c", "…"]);
    assert_eq!(bless(&lines("x"), &printed[..2]), ["a 1 in 0.3 s", "b"]);
}

//! Server-sent events out of a byte stream that may be cut anywhere.
//!
//! After the WHATWG HTML standard, section 9.2.6, with one leniency: a last event that
//! the server did not end with a blank line counts, because some servers just hang up.

/// One event: what its `event:` and `data:` lines held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The type; empty where the server gives none.
    pub kind: String,
    /// The data lines, joined by line feeds.
    pub data: String,
}

/// A line of more bytes than this is no event stream.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Takes bytes as they arrive, gives events.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    /// A line feed right after a carriage return belongs to it.
    after_return: bool,
    begun: bool,
    kind: String,
    data: Option<String>,
}

impl Parser {
    /// Adds bytes, and hands each event that they complete to `each`.
    ///
    /// # Errors
    /// A line that does not end within 16 MiB.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Event)) -> Result<(), &'static str> {
        for &byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    if let Some(event) = self.take_line(&line) {
                        each(event);
                    }
                    self.line = line;
                    self.line.clear();
                }
                _ if self.line.len() == LINE_BYTES_MAX => return Err("a line of the stream never ends"),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    /// The stream has ended: an event that lacks its blank line.
    pub fn finish(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.take_line(&line);
        }
        self.take_event()
    }

    fn take_line(&mut self, line: &[u8]) -> Option<Event> {
        let line = if self.begun { line } else { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line) };
        self.begun = true;
        if line.is_empty() {
            return self.take_event();
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "event" => value.clone_into(&mut self.kind),
            // Comments, `id`, `retry` and whatever else there may be.
            _ => {}
        }
        None
    }

    fn take_event(&mut self) -> Option<Event> {
        let kind = std::mem::take(&mut self.kind);
        self.data.take().map(|data| Event { kind, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Parses `pieces` one after the other, as they might arrive.
    fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.feed(piece, |event| events.push(event)).unwrap();
        }
        events.extend(parser.finish());
        events
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let found = parse([text.as_bytes()]);
            let found: Vec<_> = found.iter().map(|e| (e.kind.as_str(), e.data.as_str())).collect();
            assert_eq!(found, expected, "{text:?}");
        };
        check("data: a\n\ndata:b\n\n", &[("", "a"), ("", "b")]);
        check("data: a\r\n\r\ndata: b\r\rdata: c\n\n", &[("", "a"), ("", "b"), ("", "c")]);
        check("data: a\ndata\ndata:  b\n\n", &[("", "a\n\n b")]);
        check(": ping\n\nid: 7\nretry: 10\n\n\n", &[]);
        check("event: error\ndata: {\"x\": 1}\n\n", &[("error", "{\"x\": 1}")]);
        check("event: lonely\n\ndata: x\n\n", &[("", "x")]);
        check("\u{feff}data: x\n\n", &[("", "x")]);
        check("data: unfinished", &[("", "unfinished")]);
        check("<html>\n<p>no events</p>\n\n", &[]);
        check("", &[]);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; LINE_BYTES_MAX];
        assert_eq!(parser.feed(&piece, |_| ()), Ok(()));
        assert!(parser.feed(b"x", |_| ()).is_err());
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_bytes_are_cut(
            lines in prop::collection::vec("(data: ?[a-zé]{0,4}|event: [a-z]{1,3}|:[a-z]*||)", 0..30),
            end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let text = lines.iter().map(|line| format!("{line}{end}")).collect::<String>();
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
            prop_assert_eq!(parse(pieces), parse([bytes]));
            prop_assert_eq!(parse(bytes.chunks(1)), parse([bytes]));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            parse([bytes.as_slice()]);
        }
    }
}

//! Opens trace files, plain or gzip, and hands out their lines.
//!
//! Gzip is told by its magic bytes, never by the name. Lines may end in LF or CRLF, and
//! the last one in nothing.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// Longest line accepted: beyond it a file holds no requests, and must not fill the memory.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// The lines of a text.
pub(super) struct Lines {
    input: Box<dyn BufRead + Send>,
    line: u64,
}

/// Opens `path`, unpacking it if it is gzip.
pub(super) fn open(path: &Path) -> io::Result<Lines> {
    // A directory opens like a file on some systems and fails at the first read only.
    if path.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    unpack(File::open(path)?)
}

/// Unpacks `raw` if it begins with gzip's magic bytes.
pub(super) fn unpack(raw: impl Read + Send + 'static) -> io::Result<Lines> {
    let mut raw = BufReader::with_capacity(1 << 16, raw);
    let packed = raw.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let input: Box<dyn BufRead + Send> = if packed {
        Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(raw)))
    } else {
        Box::new(raw)
    };
    Ok(Lines { input, line: 0 })
}

impl Lines {
    /// Appends the next line to `buffer` without its end; `false` at the end of the text.
    pub fn append(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let start = buffer.len();
        let read = (&mut self.input).take(MAX_LINE_BYTES + 1).read_until(b'\n', buffer)?;
        if read == 0 {
            return Ok(false);
        }
        if read as u64 > MAX_LINE_BYTES {
            return Err(io::Error::other(format!("line {} is longer than 16 MiB", self.line + 1)));
        }
        self.line += 1;
        if buffer.last() == Some(&b'\n') {
            buffer.pop();
            if buffer.len() > start && buffer.last() == Some(&b'\r') {
                buffer.pop();
            }
        }
        Ok(true)
    }

    /// Reads the next line into `buffer`, replacing what it held; a byte-order mark is dropped.
    pub fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        buffer.clear();
        let more = self.append(buffer)?;
        if self.line == 1 && buffer.starts_with(b"\xef\xbb\xbf") {
            buffer.drain(..3);
        }
        Ok(more)
    }

    /// Number of the last line read, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Reads all that is left, up to `limit` bytes.
    pub fn read_all(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        (&mut self.input).take(limit + 1).read_to_end(&mut all)?;
        if all.len() as u64 > limit {
            return Err(io::Error::other(format!("it is larger than {} MiB", limit >> 20)));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::{Cursor, Write};

    fn lines_of(bytes: Vec<u8>) -> io::Result<Vec<String>> {
        let mut lines = unpack(Cursor::new(bytes))?;
        let (mut buffer, mut all) = (Vec::new(), Vec::new());
        while lines.next(&mut buffer)? {
            all.push(String::from_utf8_lossy(&buffer).into_owned());
        }
        Ok(all)
    }

    #[test]
    fn lines_end_as_they_like() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(lines_of(text.into()).unwrap(), expected, "{text:?}");
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(text.as_bytes()).unwrap();
            assert_eq!(lines_of(packed.finish().unwrap()).unwrap(), expected, "gzip of {text:?}");
        };
        check("a\nb\n", &["a", "b"]);
        check("a\r\nb", &["a", "b"]);
        check("\u{feff}a\n\nb\r\n", &["a", "", "b"]);
        check("", &[]);
    }

    #[test]
    fn a_cut_gzip_file_is_an_error() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&[7; 10_000]).unwrap();
        let mut bytes = packed.finish().unwrap();
        bytes.truncate(bytes.len() / 2);
        assert!(lines_of(bytes).is_err());
    }

    #[test]
    fn an_endless_line_is_an_error() {
        assert!(lines_of(vec![b'x'; (MAX_LINE_BYTES + 2) as usize]).is_err());
    }
}

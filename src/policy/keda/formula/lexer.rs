//! Tokens of a formula.

use super::FormulaError;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// A number without a point or an exponent.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A name or a word such as `and`.
    Word(String),
    /// An operator or a bracket.
    Sign(&'static str),
    /// After the last one.
    End,
}

/// A token and the character it begins at, counted from 0.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub at: usize,
    pub kind: TokenKind,
}

/// Signs, longer ones first. Those that the parser does not know are refused there, with their place.
const SIGNS: [&str; 31] = [
    "**", "??", "?.", "..", "||", "&&", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "^", "<", ">", "!",
    "?", ":", "(", ")", "[", "]", "{", "}", ",", "#", "|", ".",
];

/// Splits a formula; the last token is `End`.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, FormulaError> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&first) = chars.get(at) {
        if first.is_whitespace() {
            at += 1;
            continue;
        }
        let begins_number =
            first.is_ascii_digit() || (first == '.' && chars.get(at + 1).is_some_and(char::is_ascii_digit));
        let (kind, end) = if begins_number {
            number(&chars, at)?
        } else if first.is_alphabetic() || first == '_' {
            let end = end_of(&chars, at, |c| c.is_alphanumeric() || c == '_');
            (TokenKind::Word(chars[at..end].iter().collect()), end)
        } else {
            let sign = SIGNS
                .iter()
                .find(|sign| sign.chars().enumerate().all(|(index, c)| chars.get(at + index) == Some(&c)));
            let Some(sign) = sign else {
                let message = match first {
                    '"' | '\'' | '`' => "a formula holds numbers, no text".to_owned(),
                    other => format!("`{other}` means nothing here"),
                };
                return Err(FormulaError::new(at, message));
            };
            (TokenKind::Sign(sign), at + sign.len())
        };
        tokens.push(Token { at, kind });
        at = end;
    }
    tokens.push(Token { at: chars.len(), kind: TokenKind::End });
    Ok(tokens)
}

fn end_of(chars: &[char], from: usize, belongs: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|index| !belongs(chars[*index])).unwrap_or(chars.len())
}

fn number(chars: &[char], at: usize) -> Result<(TokenKind, usize), FormulaError> {
    let mut end = end_of(chars, at, |c| c.is_alphanumeric() || c == '_' || c == '.');
    // The sign of an exponent.
    let hexadecimal = matches!(chars.get(at + 1), Some('x' | 'X'));
    if !hexadecimal
        && matches!(chars[end - 1], 'e' | 'E')
        && matches!(chars.get(end), Some('+' | '-'))
        && chars.get(end + 1).is_some_and(char::is_ascii_digit)
    {
        end = end_of(chars, end + 1, |c| c.is_ascii_digit());
    }
    let text: String = chars[at..end].iter().filter(|c| **c != '_').collect();
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let kind = match digits {
        Some(digits) => i64::from_str_radix(digits, 16).ok().map(TokenKind::Int),
        None if text.contains(['.', 'e', 'E']) => text.parse().ok().map(TokenKind::Float),
        None => text.parse().ok().map(TokenKind::Int),
    };
    let kind = kind.ok_or_else(|| FormulaError::new(at, format!("`{text}` is not a number")))?;
    Ok((kind, end))
}

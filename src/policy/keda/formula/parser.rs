//! From tokens to a tree, by precedence climbing as upstream's parser does it.

use super::FormulaError;
use super::lexer::{Token, TokenKind};

/// How deep a formula may nest: enough for any that is meant, too little for the stack to overflow.
const DEPTH_MAX: usize = 100;

/// Operators of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
    Coalesce,
}

impl Operator {
    /// The operator, its precedence and whether it binds to the right.
    fn of(token: &TokenKind) -> Option<(Self, u16, bool)> {
        let text = match token {
            TokenKind::Sign(sign) => sign,
            TokenKind::Word(word) => word.as_str(),
            _ => return None,
        };
        Some(match text {
            "||" | "or" => (Self::Or, 10, false),
            "&&" | "and" => (Self::And, 15, false),
            "==" => (Self::Equal, 20, false),
            "!=" => (Self::Unequal, 20, false),
            "<" => (Self::Less, 20, false),
            "<=" => (Self::LessOrEqual, 20, false),
            ">" => (Self::Greater, 20, false),
            ">=" => (Self::GreaterOrEqual, 20, false),
            "in" => (Self::In, 20, false),
            "+" => (Self::Add, 30, false),
            "-" => (Self::Subtract, 30, false),
            "*" => (Self::Multiply, 60, false),
            "/" => (Self::Divide, 60, false),
            "%" => (Self::Remainder, 60, false),
            "**" | "^" => (Self::Power, 100, true),
            "??" => (Self::Coalesce, 500, false),
            _ => return None,
        })
    }

    fn orders(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }
}

/// A node and the character it is reported at, counted from 0: an operator's own, else its first.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub at: usize,
    pub kind: NodeKind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NodeKind {
    Int(i64),
    Float(f64),
    Bool(bool),
    Nil,
    Name(String),
    /// `#`: the element a predicate looks at.
    Element,
    Negate(Box<Node>),
    Not(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Conditional(Box<Node>, Box<Node>, Box<Node>),
    List(Vec<Node>),
    /// A function's name and its arguments; the last may be a predicate.
    Call(String, Vec<Node>),
}

impl Node {
    /// The nodes below.
    pub fn children(&self) -> Vec<&Self> {
        match &self.kind {
            NodeKind::Int(_)
            | NodeKind::Float(_)
            | NodeKind::Bool(_)
            | NodeKind::Nil
            | NodeKind::Name(_)
            | NodeKind::Element => Vec::new(),
            NodeKind::Negate(one) | NodeKind::Not(one) => vec![one],
            NodeKind::Binary(_, left, right) => vec![left, right],
            NodeKind::Conditional(condition, yes, no) => vec![condition, yes, no],
            NodeKind::List(items) | NodeKind::Call(_, items) => items.iter().collect(),
        }
    }
}

/// Reads a whole formula.
pub(super) fn parse(tokens: &[Token]) -> Result<Node, FormulaError> {
    let mut parser = Parser { tokens, next: 0, depth: 0, predicates: 0 };
    let node = parser.expression(0)?;
    match parser.peek().kind {
        TokenKind::End => Ok(node),
        _ => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    next: usize,
    depth: usize,
    /// Arguments around this place in which `#` means something.
    predicates: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        // The last token is `End` and is never passed.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek().kind, TokenKind::Sign(found) if found == sign)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(&self.peek().kind, TokenKind::Word(found) if found == word)
    }

    fn accept(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        if found {
            self.next += 1;
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), FormulaError> {
        if self.accept(sign) {
            return Ok(());
        }
        Err(FormulaError::new(self.peek().at, format!("`{sign}` is expected here")))
    }

    fn unexpected(&self) -> FormulaError {
        let token = self.peek();
        let message = match &token.kind {
            TokenKind::End => "the formula ends where a value is expected".to_owned(),
            TokenKind::Sign(sign @ ("|" | "." | "?." | "..")) => {
                format!("`{sign}` is not modelled; write the formula without it")
            }
            TokenKind::Sign(sign) => format!("`{sign}` is not expected here"),
            TokenKind::Word(word) => format!("`{word}` is not expected here"),
            TokenKind::Int(_) | TokenKind::Float(_) => "a number is not expected here".to_owned(),
        };
        FormulaError::new(token.at, message)
    }

    /// An expression of operators of at least this precedence; at 0 also a conditional.
    fn expression(&mut self, precedence: u16) -> Result<Node, FormulaError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(FormulaError::new(self.peek().at, "it is nested too deeply"));
        }
        let mut left = self.primary()?;
        let mut coalesced = false;
        loop {
            let negated = self.is_word("not") && self.next + 1 < self.tokens.len();
            let operator = if negated {
                Operator::of(&self.tokens[self.next + 1].kind).filter(|(o, ..)| *o == Operator::In)
            } else {
                Operator::of(&self.peek().kind)
            };
            let Some((operator, own, to_the_right)) = operator.filter(|(_, own, _)| *own >= precedence)
            else {
                break;
            };
            let at = self.peek().at;
            if coalesced && operator != Operator::Coalesce {
                let message = "`??` cannot be mixed with another operator; put one of both in parentheses";
                return Err(FormulaError::new(at, message));
            }
            self.next += if negated { 2 } else { 1 };
            if operator.orders() {
                left = self.comparison(left, operator, at, own)?;
                continue;
            }
            let right = self.expression(if to_the_right { own } else { own + 1 })?;
            left = Node { at, kind: NodeKind::Binary(operator, Box::new(left), Box::new(right)) };
            if negated {
                left = Node { at, kind: NodeKind::Not(Box::new(left)) };
            }
            coalesced = operator == Operator::Coalesce;
        }
        if precedence == 0 {
            left = self.conditional(left)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    /// `1 < a < 3` means `1 < a && a < 3`.
    fn comparison(
        &mut self,
        left: Node,
        operator: Operator,
        at: usize,
        precedence: u16,
    ) -> Result<Node, FormulaError> {
        let (mut operator, mut at, mut compared) = (operator, at, left);
        let mut chain: Option<Node> = None;
        loop {
            let right = self.expression(precedence + 1)?;
            let kind = NodeKind::Binary(operator, Box::new(compared), Box::new(right.clone()));
            let link = Node { at, kind };
            chain = Some(match chain {
                None => link,
                Some(before) => {
                    Node { at, kind: NodeKind::Binary(Operator::And, Box::new(before), Box::new(link)) }
                }
            });
            match Operator::of(&self.peek().kind).filter(|(next, ..)| next.orders()) {
                Some((next, ..)) => {
                    (operator, at, compared) = (next, self.advance().at, right);
                }
                None => return Ok(chain.expect("it was just set")),
            }
        }
    }

    fn conditional(&mut self, mut condition: Node) -> Result<Node, FormulaError> {
        while self.accept("?") {
            let at = condition.at;
            // `a ?: b` is `a ? a : b`.
            let yes = if self.is(":") { condition.clone() } else { self.expression(0)? };
            self.expect(":")?;
            let no = self.expression(0)?;
            let kind = NodeKind::Conditional(Box::new(condition), Box::new(yes), Box::new(no));
            condition = Node { at, kind };
        }
        Ok(condition)
    }

    fn primary(&mut self) -> Result<Node, FormulaError> {
        let at = self.peek().at;
        if self.accept("-") {
            return Ok(Node { at, kind: NodeKind::Negate(Box::new(self.expression(90)?)) });
        }
        if self.accept("+") {
            return self.expression(90);
        }
        if self.is_word("not") || self.is("!") {
            self.next += 1;
            return Ok(Node { at, kind: NodeKind::Not(Box::new(self.expression(50)?)) });
        }
        if self.accept("(") {
            let inner = self.expression(0)?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.accept("[") {
            return Ok(Node { at, kind: NodeKind::List(self.items("]", false)?) });
        }
        if self.is("#") && self.predicates > 0 {
            self.next += 1;
            return Ok(Node { at, kind: NodeKind::Element });
        }
        let kind = match &self.peek().kind {
            TokenKind::Int(value) => NodeKind::Int(*value),
            TokenKind::Float(value) => NodeKind::Float(*value),
            TokenKind::Word(word) if Operator::of(&self.peek().kind).is_none() => match word.as_str() {
                "true" => NodeKind::Bool(true),
                "false" => NodeKind::Bool(false),
                "nil" => NodeKind::Nil,
                _ => NodeKind::Name(word.clone()),
            },
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        match kind {
            NodeKind::Name(name) if self.accept("(") => {
                Ok(Node { at, kind: NodeKind::Call(name, self.items(")", true)?) })
            }
            kind => Ok(Node { at, kind }),
        }
    }

    /// Expressions up to a bracket; of a call, later ones may be predicates, in braces or not.
    fn items(&mut self, end: &str, call: bool) -> Result<Vec<Node>, FormulaError> {
        let mut items = Vec::new();
        while !self.accept(end) {
            if !items.is_empty() {
                self.expect(",")?;
                // A comma may stand after the last.
                if self.accept(end) {
                    break;
                }
            }
            let predicate = call && !items.is_empty();
            self.predicates += usize::from(predicate);
            let braced = predicate && self.accept("{");
            items.push(self.expression(0)?);
            if braced {
                self.expect("}")?;
            }
            self.predicates -= usize::from(predicate);
            if !self.is(",") && !self.is(end) {
                return Err(FormulaError::new(self.peek().at, format!("`{end}` is expected here")));
            }
        }
        Ok(items)
    }
}

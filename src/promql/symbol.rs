//! Label names and values as numbers: a label set is a few integers, and comparing or hashing one
//! touches no text.

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;

/// A text of a [`Symbols`] table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Symbol(u32);

impl Symbol {
    /// The empty text: a label with this value is a label that is not there.
    pub const EMPTY: Self = Self(0);
    /// `__name__`, the label that holds a metric's name.
    pub const NAME: Self = Self(1);
    /// `le`, the upper bound of a classic histogram's bucket.
    pub const LE: Self = Self(2);
}

/// Every text a store has seen, each once.
#[derive(Clone, Debug)]
pub struct Symbols {
    texts: IndexSet<Box<str>, FxBuildHasher>,
}

impl Default for Symbols {
    fn default() -> Self {
        let texts = ["", "__name__", "le"].into_iter().map(Box::from).collect();
        Self { texts }
    }
}

impl Symbols {
    /// The symbol of a text, new or known.
    pub fn intern(&mut self, text: &str) -> Symbol {
        if let Some(known) = self.find(text) {
            return known;
        }
        let (index, _) = self.texts.insert_full(text.into());
        Symbol(u32::try_from(index).expect("fewer than 2^32 label names and values"))
    }

    /// The symbol of a text, if it has one.
    pub fn find(&self, text: &str) -> Option<Symbol> {
        self.texts.get_index_of(text).map(|index| Symbol(index as u32))
    }

    /// The text of a symbol.
    pub fn text(&self, symbol: Symbol) -> &str {
        self.texts.get_index(symbol.0 as usize).expect("symbols come from their own table")
    }

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Never: the well-known texts are always there.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}

/// The symbols of one evaluation: those of the store, and the few that the query makes up.
///
/// An evaluation does not change the store, yet `label_replace` and `absent` may name what no series has.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    base: &'a Symbols,
    own: IndexSet<Box<str>, FxBuildHasher>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(base: &'a Symbols) -> Self {
        Self { base, own: IndexSet::default() }
    }

    pub(super) fn intern(&mut self, text: &str) -> Symbol {
        if let Some(known) = self.base.find(text) {
            return known;
        }
        let index = match self.own.get_index_of(text) {
            Some(index) => index,
            None => self.own.insert_full(text.into()).0,
        };
        Symbol((self.base.len() + index) as u32)
    }

    pub(super) fn text(&self, symbol: Symbol) -> &str {
        match (symbol.0 as usize).checked_sub(self.base.len()) {
            None => self.base.text(symbol),
            Some(own) => self.own.get_index(own).expect("symbols come from their own table"),
        }
    }
}

/// A set of labels, sorted by their symbols: the metric's name is first. No label has an empty value.
#[derive(Debug, PartialEq, Eq, Hash, Default)]
pub struct Labels(SmallVec<[(Symbol, Symbol); 8]>);

impl Clone for Labels {
    fn clone(&self) -> Self {
        // `SmallVec` copies one by one.
        Self(SmallVec::from_slice(&self.0))
    }
}

impl Labels {
    /// All but the metric's name.
    pub(super) fn nameless(&self) -> Self {
        let ([(Symbol::NAME, _), others @ ..] | others) = &self.0[..];
        Self(SmallVec::from_slice(others))
    }

    /// The value of a label; [`Symbol::EMPTY`] if it is not there.
    pub fn get(&self, name: Symbol) -> Symbol {
        self.place(name).map_or(Symbol::EMPTY, |index| self.0[index].1)
    }

    /// Sets a label, or takes it away where the value is empty.
    pub fn set(&mut self, name: Symbol, value: Symbol) {
        match (self.place(name), value == Symbol::EMPTY) {
            (Ok(index), false) => self.0[index].1 = value,
            (Ok(index), true) => drop(self.0.remove(index)),
            (Err(index), false) => self.0.insert(index, (name, value)),
            (Err(_), true) => {}
        }
    }

    /// Takes a label away.
    pub fn remove(&mut self, name: Symbol) {
        self.set(name, Symbol::EMPTY);
    }

    /// The labels of the names that are wanted.
    pub(super) fn filtered(&self, wanted: impl Fn(Symbol) -> bool) -> Self {
        let mut kept = SmallVec::new();
        self.0.iter().filter(|(name, _)| wanted(*name)).for_each(|label| kept.push(*label));
        Self(kept)
    }

    /// (name, value) of each label, in order of their symbols.
    pub fn iter(&self) -> impl Iterator<Item = (Symbol, Symbol)> + '_ {
        self.0.iter().copied()
    }

    fn place(&self, name: Symbol) -> Result<usize, usize> {
        self.0.binary_search_by_key(&name, |(own, _)| *own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_symbol() {
        let mut symbols = Symbols::default();
        let a = symbols.intern("a");
        assert_eq!((symbols.intern("a"), symbols.text(a)), (a, "a"));
        assert_eq!(
            [symbols.find(""), symbols.find("__name__"), symbols.find("le")],
            [Some(Symbol::EMPTY), Some(Symbol::NAME), Some(Symbol::LE)]
        );
        assert_eq!(symbols.find("b"), None);
    }

    #[test]
    fn a_scope_adds_to_its_table_without_changing_it() {
        let mut symbols = Symbols::default();
        let a = symbols.intern("a");
        let mut scope = Scope::new(&symbols);
        let b = scope.intern("b");
        assert_eq!((scope.intern("a"), scope.intern("b")), (a, b));
        assert_eq!((scope.text(a), scope.text(b)), ("a", "b"));
        assert_eq!(symbols.find("b"), None);
    }

    #[test]
    fn an_empty_value_is_no_label() {
        let mut symbols = Symbols::default();
        let [a, b, v] = ["a", "b", "v"].map(|text| symbols.intern(text));
        let mut labels = Labels::default();
        labels.set(b, v);
        labels.set(a, v);
        labels.set(a, Symbol::EMPTY);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [(b, v)]);
        assert_eq!((labels.get(a), labels.get(b)), (Symbol::EMPTY, v));
    }
}

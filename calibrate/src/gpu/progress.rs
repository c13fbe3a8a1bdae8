//! Who is told what is being measured. Printing is the command line's business.

/// Hears what happens.
pub trait Progress {
    /// A phase begins that has so many points.
    fn phase(&self, name: &str, points: usize);
    /// A point of it begins.
    fn point(&self, what: &str);
    /// Something that must be read.
    fn note(&self, text: &str);
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn phase(&self, _: &str, _: usize) {}
    fn point(&self, _: &str) {}
    fn note(&self, _: &str) {}
}

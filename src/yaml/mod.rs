//! Floor 1: YAML text to a tree with positions, to typed values, and back to text.
//!
//! It knows no files: a caller hands in a name and a text. What is wrong with the text
//! comes back as [`Diagnostic`]s, all of them at once, each at its line and column.

mod access;
pub mod codes;
mod de;
pub mod diagnostic;
mod embedded;
mod fault;
mod graft;
mod hole;
mod parse;
pub mod path;
mod read;
mod render;
mod scalar;
#[cfg(test)]
mod tests;
pub mod tree;
mod write;

pub use codes::{CODES, Code, find_code};
pub use diagnostic::{Diagnostic, Place, Severity, suggest};
pub use graft::Shape;
pub use path::{Path, Step};
pub use read::read;
pub use render::{Style, render};
pub use tree::{Document, Span};
pub use write::{flow, write};

/// Deepest nesting a document may have. Reading recurses that deep, so it also bounds the stack.
pub const DEPTH_MAX: usize = 64;
/// Most nodes a document may have, copies made by aliases included.
pub const NODES_MAX: usize = 50_000;
/// Most documents a text may have.
pub const DOCUMENTS_MAX: usize = 10_000;
/// Longest text, bytes.
pub const TEXT_BYTES_MAX: usize = 16 << 20;
/// Most faults reported for one document.
pub const FAULTS_MAX: usize = 100;

//! The profiles that come with the program, and the digest that names a profile exactly.

use sha2::{Digest, Sha256};

use super::schema::Profile;

/// A profile that comes with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// Its name.
    pub name: &'static str,
    /// Its YAML.
    pub text: &'static str,
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(Shipped { name: $name, text: include_str!(concat!("../../profiles/", $name, ".yaml")) }),*]
    };
}

/// All of them, by name.
pub const SHIPPED: &[Shipped] = shipped![
    "a10g-llama3-8b-vllm",
    "h100x2-gpt-oss-120b-vllm",
    "h100x4-llama3.1-70b-fp8-vllm",
    "h100x8-llama3.1-70b-fp8-vllm",
    "h200-llama3.1-70b-fp8-vllm",
    "l40s-llama3.1-8b-vllm",
    "small-7b-worked-example",
];

/// The shipped profile of that name.
pub fn find(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|shipped| shipped.name == name)
}

impl Profile {
    /// The first 6 hex digits of the SHA-256 of its canonical form: JSON without white space, fields
    /// in the order of the schema, absent ones left out. Comments and layout do not change it.
    ///
    /// # Panics
    /// Never: a profile has only string keys.
    pub fn digest(&self) -> String {
        // Every map key is a string and every number is finite once the check has passed; what JSON
        // cannot hold (a NaN) it writes as null, which still is a digest of its own.
        let canonical = serde_json::to_vec(self).expect("a profile has only string keys");
        Sha256::digest(&canonical)[..3].iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    }

    /// Name and digest as reports show them: `h100x2-gpt-oss-120b-vllm@3f9c1e`.
    pub fn label(&self) -> String {
        format!("{}@{}", self.name, self.digest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Bytes;
    use crate::profile::fixture;

    #[test]
    fn the_digest_follows_the_values() {
        let profile = fixture::profile();
        assert_eq!(profile.digest(), profile.clone().digest());
        assert_eq!(profile.digest().len(), 6);
        let mut other = profile.clone();
        other.gpu.memory = Bytes(80_000_000_001);
        assert_ne!(other.digest(), profile.digest());
        assert_eq!(profile.label(), format!("a-profile@{}", profile.digest()));
    }

    #[test]
    fn shipped_profiles_are_listed_by_name() {
        assert!(SHIPPED.windows(2).all(|w| w[0].name < w[1].name));
        assert_eq!(find("small-7b-worked-example").map(|s| s.name), Some("small-7b-worked-example"));
        assert_eq!(find("no-such-profile"), None);
    }
}

//! What is exported reads back as the same policy.

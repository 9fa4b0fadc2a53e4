//! Names, identifiers and facts, valid by construction.

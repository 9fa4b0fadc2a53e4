//! Avro: parse, compatibility, item rules, projection plan.

//! Shuniu: an exchange hub for government data.

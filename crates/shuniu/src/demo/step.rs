//! The steps of the demonstration, in their order.

pub(super) mod audit;
pub(super) mod closing;
pub(super) mod moving;
pub(super) mod prepare;
pub(super) mod publish;
pub(super) mod receive;
pub(super) mod refuse;
pub(super) mod revoke;

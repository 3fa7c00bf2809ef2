//! What holds for the whole source tree and its documents; nothing outside this process is needed.

mod documents;
mod layers;
mod schemas;
mod source;

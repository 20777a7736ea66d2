//! A guard on a terminal.

//! Changepoints and phase-change windows of curves.

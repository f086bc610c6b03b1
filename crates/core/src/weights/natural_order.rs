//! The order of names in which `conv2` comes before `conv10`.

use std::cmp::Ordering;

/// A piece of a name. Numbers come before text.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Piece<'a> {
    Number(u64),
    Text(&'a str),
}

/// The order of two names, and whether a number decides it.
pub(super) fn compare(a: &str, b: &str) -> (Ordering, bool) {
    let mut others = pieces(b);
    for piece in pieces(a) {
        let Some(other) = others.next() else { return (Ordering::Greater, false) };
        let order = piece.cmp(&other);
        if order.is_ne() {
            return (order, matches!((piece, other), (Piece::Number(_), Piece::Number(_))));
        }
    }
    (if others.next().is_some() { Ordering::Less } else { Ordering::Equal }, false)
}

/// Runs of digits, and what is between them. (A number beyond 64 bits is text.)
fn pieces(name: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let is_digit = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_digit).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        rest = after;
        let number = if is_digit { piece.parse().ok() } else { None };
        Some(number.map_or(Piece::Text(piece), Piece::Number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers() {
        assert_eq!(compare("features.2", "features.10"), (Ordering::Less, true));
        assert_eq!(compare("conv5_3", "conv5_1"), (Ordering::Greater, true));
        assert_eq!(compare("fc2", "output"), (Ordering::Less, false));
        assert_eq!(compare("0", "features"), (Ordering::Less, false));
        assert_eq!(compare("block1", "block1.1"), (Ordering::Less, false));
    }
}

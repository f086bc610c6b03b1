//! Addresses in messages.

/// An address without what may be secret in it: a user name and password (everything before the last `@`,
/// even if the address is not a valid one) and a token (everything after a `?`).
pub(super) fn redacted(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    let rest = rest.rsplit('@').next().unwrap_or(rest);
    match rest.split_once('?') {
        Some((rest, _)) => format!("{scheme}{rest}?..."),
        None => format!("{scheme}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn names_and_passwords_are_removed() {
        for (address, expected) in [
            ("https://host/a", "https://host/a"),
            ("https://user:pass@host/a", "https://host/a"),
            ("https://user:p@ss word@host/a", "https://host/a"),
            ("user:password@host", "host"),
            ("http:user:password@host/a", "host/a"),
            ("HTTP://user:pass/word@host/a", "HTTP://host/a"),
            ("https://host/a?token=secret", "https://host/a?..."),
        ] {
            assert_eq!(redacted(address), expected);
        }
    }
}

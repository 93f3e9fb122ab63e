//! What a one-time code proves: an e-mail address or a phone number, in the one spelling that is stored.

/// A normalised identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identifier {
    /// Trimmed and lower-cased.
    Email(String),
    /// `+` and digits.
    Phone(String),
}

impl Identifier {
    /// An e-mail address; `None` when it isn't one.
    pub(super) fn email(text: &str) -> Option<Self> {
        let email = text.trim().to_lowercase();
        is_email(&email).then_some(Self::Email(email))
    }

    /// A phone number; `None` when too little or too much is left after stripping.
    pub(super) fn phone(text: &str) -> Option<Self> {
        let number: String = text.chars().filter(|c| *c == '+' || c.is_ascii_digit()).collect();
        let digits = number.strip_prefix('+').unwrap_or(&number);
        // ITU-T E.164 allows 15 digits; an international prefix such as 00 may stand before them.
        let fits = (5..=18).contains(&digits.len()) && !digits.contains('+');
        fits.then_some(Self::Phone(number))
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Email(text) | Self::Phone(text) => text,
        }
    }

    /// The part of an e-mail address behind the `@`.
    pub(super) fn email_domain(&self) -> Option<&str> {
        match self {
            Self::Email(email) => email.rsplit_once('@').map(|(_, domain)| domain),
            Self::Phone(_) => None,
        }
    }
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let local_fits = (1..=64).contains(&local.len())
        && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atom_byte));
    let labels: Vec<&str> = domain.split('.').collect();
    let top_fits = labels.last().is_some_and(|top| top.len() >= 2 && !top.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 254 && local_fits && labels.len() >= 2 && labels.iter().all(|label| is_label(label)) && top_fits
}

fn is_atom_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&byte)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emails_are_trimmed_and_lower_cased() {
        assert_eq!(Identifier::email("  Asha@Example.COM "), Some(Identifier::Email("asha@example.com".to_owned())));
        let admin = Identifier::email("a@Admin.example.org").unwrap();
        assert_eq!(admin.email_domain(), Some("admin.example.org"));
    }

    #[test]
    fn what_is_no_email_is_refused() {
        for text in
            ["", "asha", "@example.com", "asha@", "asha@host", "a b@example.com", "a@b@example.com", "a..b@example.com"]
        {
            assert_eq!(Identifier::email(text), None, "{text}");
        }
        for text in ["a@-b.com", "a@b..com", "a@10.0.0.1", "a\u{0}@example.com", "a@example.c"] {
            assert_eq!(Identifier::email(text), None, "{text}");
        }
    }

    #[test]
    fn phone_numbers_are_stripped() {
        assert_eq!(Identifier::phone("+91 (98123) 456-78"), Some(Identifier::Phone("+919812345678".to_owned())));
        assert_eq!(Identifier::phone("+91 +98"), None);
        assert_eq!(Identifier::phone("no number"), None);
        assert_eq!(Identifier::phone("+123456789012345678901"), None);
    }
}

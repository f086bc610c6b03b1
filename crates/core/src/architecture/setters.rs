//! The setters of configs.

/// Defines a setter for each of these fields: `with_dropout(0.0)` gives the same config with another dropout.
macro_rules! setters {
    ($($setter:ident($field:ident: $type:ty)),+ $(,)?) => {
        $(
            #[doc = concat!("The same config with another [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
            pub fn $setter(self, $field: $type) -> Self {
                Self { $field, ..self }
            }
        )+
    };
}
pub(super) use setters;

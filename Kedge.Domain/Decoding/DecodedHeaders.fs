namespace Kedge.Domain.Decoded

/// Changes to headers, by name. Values may contain variables, such as `{client_address}`.
type HeaderChanges =
    {
        /// Replaces all values of a header.
        Set: Map<string, string>
        /// Adds one more value.
        Add: Map<string, string>
        Remove: string list
    }

namespace Kedge.Domain

open System

/// A condition that a request does not meet. Each matcher creates its own; a rule matches a request when none of its
/// conditions has a mismatch.
type Mismatch =
    {
        /// What the condition is about: `host`, `header x-env`.
        Subject: string
        /// What the rule asks for, as the matcher's `Text`. Empty when any value would do.
        Expected: string
        /// What the request has.
        Found: string
    }

    /// In words: `host is b.example, not a.example`.
    member mismatch.Text =
        if mismatch.Expected = "" then
            $"{mismatch.Subject} is {mismatch.Found}"
        elif
            mismatch.Expected.StartsWith("*.", StringComparison.Ordinal)
            && mismatch.Found = mismatch.Expected.Substring 2
        then
            $"{mismatch.Subject} {mismatch.Found} has no label before {mismatch.Expected.Substring 1}"
        else
            $"{mismatch.Subject} is {mismatch.Found}, not {mismatch.Expected}"

[<RequireQualifiedAccess>]
module Mismatch =

    /// What `Found` says when the request has no value at all.
    [<Literal>]
    let Absent = "absent"

    /// The mismatch, unless the condition holds.
    let internal unless (holds: bool) (subject: string) (expected: string) (found: string) : Mismatch voption =
        if holds then
            ValueNone
        else
            ValueSome
                {
                    Subject = subject
                    Expected = expected
                    Found = (if found = "" then Absent else found)
                }

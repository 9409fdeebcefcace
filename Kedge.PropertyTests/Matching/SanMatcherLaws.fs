module Kedge.PropertyTests.SanMatcherLaws

open Expecto
open FsCheck.FSharp
open Kedge.Domain

let private holds pattern san = SanMatcher.Parse(pattern).Holds san

let private label = Gen.elements [ "a"; "b"; "svc"; "X"; "*" ]

let private name =
    gen {
        let! labels = Gen.choose (1, 4)
        let! labels = Gen.listOfLength labels label
        return String.concat "." labels
    }

let private san =
    gen {
        let! name = name
        let! kind = Gen.choose (0, 2)

        return
            match kind with
            | 0 -> DnsSan name
            | 1 -> UriSan $"spiffe://{name}/x"
            | _ -> EmailSan $"me@{name}"
    }

let private pattern =
    gen {
        let! name = name

        let! form =
            Gen.frequency
                [
                    3, Gen.constant "{0}"
                    3, Gen.constant "*.{0}"
                    1, Gen.constant "spiffe://{0}/x"
                    1, Gen.constant "me@{0}"
                ]

        return System.String.Format(form, name)
    }

/// Often a name that the pattern is about, perhaps spelt otherwise, or another kind of name with the same text.
let private near (pattern: string) =
    gen {
        let! label = label

        let name =
            if pattern.StartsWith "*." then
                $"{label}{pattern.Substring 1}"
            else
                pattern

        let! name = Gen.elements [ name; name.ToUpperInvariant() ]

        return!
            if pattern.Contains ':' then
                Gen.constant (UriSan name)
            elif pattern.Contains '@' then
                Gen.constant (EmailSan name)
            else
                Gen.frequency [ 4, Gen.constant (DnsSan name); 1, Gen.constant (UriSan name) ]
    }

let private pair =
    gen {
        let! pattern = pattern
        let! san = Gen.oneof [ san; near pattern ]
        return pattern, san
    }

let private lower (text: string) = text.ToLowerInvariant()

[<Tests>]
let tests =
    testList
        "certificate names"
        [
            Law.test
                "a pattern holds as the reference says: same kind, equal, or one label below"
                500
                [
                    "it holds", 75
                    "it holds by its star", 25
                    "same kind, another name", 50
                    "another kind", 50
                ]
                (Arb.fromGen pair)
                (fun seen (pattern, san) ->
                    let isUri = pattern.Contains ':'
                    let isEmail = not isUri && pattern.Contains '@'

                    let sameKind, expected =
                        match san with
                        | DnsSan name ->
                            let star = lower(pattern).Split '.'
                            let labels = lower(name).Split '.'

                            let byStar =
                                star.Length > 1
                                && star[0] = "*"
                                && labels.Length = star.Length
                                && Array.tail labels = Array.tail star

                            let same = not isUri && not isEmail
                            seen.When("it holds by its star", same && byStar && lower name <> lower pattern)

                            same,
                            same
                            && (byStar || (not (pattern.StartsWith "*.") && lower name = lower pattern))
                        | UriSan uri -> isUri, isUri && uri = pattern
                        | EmailSan email ->
                            isEmail,
                            isEmail
                            && email.Split('@')[0] = pattern.Split('@')[0]
                            && lower (email.Split('@')[1]) = lower (pattern.Split('@')[1])

                    seen.When("it holds", expected)
                    seen.When("same kind, another name", sameKind && not expected)
                    seen.When("another kind", not sameKind)
                    Expect.equal (holds pattern san) expected $"{pattern} of {san}")

            testList
                "examples"
                [
                    for pattern, san, expected in
                        [
                            "api.example.com", DnsSan "API.example.COM", true
                            "*.example.com", DnsSan "api.example.com", true
                            "*.example.com", DnsSan "example.com", false
                            "*.example.com", DnsSan ".example.com", false
                            "*.example.com", DnsSan "a.b.example.com", false
                            "*.example.com", DnsSan "api.example.com.evil.net", false
                            "*.example.com", DnsSan "apiexample.com", false
                            "api.example.com", DnsSan "*.example.com", false
                            "*.", DnsSan "a.", false
                            "spiffe://td/ns/a", UriSan "spiffe://td/ns/a", true
                            "spiffe://td/ns/a", UriSan "spiffe://td/ns/A", false
                            "spiffe://td/ns/a", DnsSan "spiffe://td/ns/a", false
                            "Me@example.com", EmailSan "Me@EXAMPLE.com", true
                            "Me@example.com", EmailSan "me@example.com", false
                            "me@example.com", DnsSan "me@example.com", false
                            "", DnsSan "", true
                        ] ->
                        testCase $"'{pattern}' and {san}: {expected}" (fun () ->
                            Expect.equal (holds pattern san) expected "holds")
                ]
        ]

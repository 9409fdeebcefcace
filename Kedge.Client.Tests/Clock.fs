namespace Kedge.Client.Tests

open System

/// A clock that stays where it is until a test moves it.
type Clock(start: DateTimeOffset) =
    inherit TimeProvider()
    let mutable now = start
    override _.GetUtcNow() = now
    member _.Pass(seconds: float) = now <- now.AddSeconds seconds

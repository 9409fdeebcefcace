using Kedge.Domain;

namespace Kedge.Host.Authorization;

/// <summary>Tells what a token is worth. Never throws but for cancellation; no part of a token is in what it yields.</summary>
public interface ITokenVerifier
{
    /// <summary>Completes synchronously for a token that is known.</summary>
    ValueTask<TokenState> VerifyAsync(ReadOnlyMemory<char> token, CancellationToken cancellation);
}

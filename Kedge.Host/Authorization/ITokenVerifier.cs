using Kedge.Domain;

namespace Kedge.Host.Authorization;

/// <summary>
/// Verifies tokens. Throws only on cancellation. Of a token, only its permissions and subject are in the result.
/// </summary>
public interface ITokenVerifier
{
    /// <summary>Completes synchronously for a token that was verified before.</summary>
    ValueTask<TokenState> VerifyAsync(ReadOnlyMemory<char> token, CancellationToken cancellation);
}

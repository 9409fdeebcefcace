using System.Security.Cryptography;
using System.Text;

namespace Kedge.Winch.Proxying;

/// <summary>What clients of this winch show when the machine is shared with other users.</summary>
/// <param name="Password">Null = none is asked for.</param>
internal sealed record ClientCredentials(string? Password)
{
    public const string User = "winch";

    /// <summary>Whether the value of a <c>Proxy-Authorization</c> header will do.</summary>
    public bool Permit(string? header)
    {
        if (Password is null)
        {
            return true;
        }
        var expected = "Basic " + Convert.ToBase64String(Encoding.UTF8.GetBytes($"{User}:{Password}"));
        return header is not null
            && CryptographicOperations.FixedTimeEquals(
                Encoding.UTF8.GetBytes(header),
                Encoding.UTF8.GetBytes(expected));
    }

    public override string ToString() => Password is null ? "none" : "******";
}

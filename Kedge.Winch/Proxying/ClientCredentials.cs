using System.Security.Cryptography;
using System.Text;

namespace Kedge.Winch.Proxying;

/// <summary>The credentials that clients of this winch present when other users share the machine.</summary>
/// <param name="Password">Null = none is required.</param>
internal sealed record ClientCredentials(string? Password)
{
    public const string User = "winch";

    /// <summary>Whether the value of a <c>Proxy-Authorization</c> header is valid.</summary>
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

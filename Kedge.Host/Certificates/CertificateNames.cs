using System.Formats.Asn1;
using System.Runtime.CompilerServices;
using System.Security.Cryptography.X509Certificates;
using Kedge.Domain;

namespace Kedge.Host.Certificates;

/// <summary>The names in client certificates, read once for each connection.</summary>
public static class CertificateNames
{
    private const string SubjectAltNameOid = "2.5.29.17";
    private static readonly ConditionalWeakTable<X509Certificate2, SubjectAltName[]> Known = [];

    /// <summary>
    /// The certificate's DNS, URI and email names (RFC 5280, 4.2.1.6); none when they cannot be decoded.
    /// </summary>
    public static SubjectAltName[] Of(X509Certificate2 certificate) => Known.GetValue(certificate, Read);

    /// <summary>The certificate's first name; null when it has none.</summary>
    public static string? FirstOf(X509Certificate2 certificate) =>
        Of(certificate) is [var first, ..]
            ? first.IsDnsSan ? first.dns : first.IsUriSan ? first.uri : first.email
            : null;

    private static SubjectAltName[] Read(X509Certificate2 certificate)
    {
        if (certificate.Extensions[SubjectAltNameOid] is not { } extension)
        {
            return [];
        }
        try
        {
            var names = new List<SubjectAltName>();
            var sequence = new AsnReader(extension.RawData, AsnEncodingRules.DER).ReadSequence();
            while (sequence.HasData)
            {
                var tag = sequence.PeekTag();
                switch (tag)
                {
                    case { TagClass: TagClass.ContextSpecific, TagValue: 1 }:
                        names.Add(SubjectAltName.NewEmailSan(ReadText(sequence, tag)));
                        break;
                    case { TagClass: TagClass.ContextSpecific, TagValue: 2 }:
                        names.Add(SubjectAltName.NewDnsSan(ReadText(sequence, tag)));
                        break;
                    case { TagClass: TagClass.ContextSpecific, TagValue: 6 }:
                        names.Add(SubjectAltName.NewUriSan(ReadText(sequence, tag)));
                        break;
                    default:
                        sequence.ReadEncodedValue();
                        break;
                }
            }
            return [.. names];
        }
        catch (AsnContentException)
        {
            return [];
        }
    }

    private static string ReadText(AsnReader reader, Asn1Tag tag) =>
        reader.ReadCharacterString(UniversalTagNumber.IA5String, tag);
}

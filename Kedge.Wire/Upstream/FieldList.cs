using System.Diagnostics.CodeAnalysis;

namespace Kedge.Wire.Upstream;

/// <summary>A header or trailer field. The value consists of Latin-1 characters, one for each byte on the wire.
/// </summary>
public readonly record struct Field(string Name, string Value);

/// <summary>
/// The fields of a header or trailer section in their order. A name can occur more than once, with one field for each
/// line. Names are compared without regard to case (RFC 9110, 5.1).
/// </summary>
/// <param name="expected">How many fields the list will contain; 0 = unknown.</param>
public sealed class FieldList(int expected = 0)
{
    private const int UsualCount = 16;

    // A peer that once sends many fields must not make later sections costly.
    private const int MaxExpected = 64;

    private Field[] _fields = [];
    private int _count;

    public int Count => _count;

    public Field this[int index] => _fields.AsSpan(0, _count)[index];

    public ReadOnlySpan<Field> AsSpan() => _fields.AsSpan(0, _count);

    public void Add(string name, string value)
    {
        if (_count == _fields.Length)
        {
            Array.Resize(
                ref _fields,
                _count > 0 ? 2 * _count : expected > 0 ? Math.Min(expected, MaxExpected) : UsualCount);
        }
        _fields[_count++] = new Field(name, value);
    }

    /// <summary>Removes all fields with this name.</summary>
    public void Remove(string name)
    {
        var kept = 0;
        for (var i = 0; i < _count; i++)
        {
            if (!_fields[i].Name.Equals(name, StringComparison.OrdinalIgnoreCase))
            {
                _fields[kept++] = _fields[i];
            }
        }
        _count = kept;
    }

    /// <summary>Gets the value of the first field with this name.</summary>
    public bool TryGet(string name, [NotNullWhen(true)] out string? value)
    {
        foreach (ref readonly var field in AsSpan())
        {
            if (field.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
            {
                value = field.Value;
                return true;
            }
        }
        value = null;
        return false;
    }
}

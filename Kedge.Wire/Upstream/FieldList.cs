using System.Diagnostics.CodeAnalysis;

namespace Kedge.Wire.Upstream;

/// <summary>A header or trailer field. The value consists of Latin-1 characters, one for each byte on the wire.
/// </summary>
public readonly record struct Field(string Name, string Value);

/// <summary>
/// The fields of a header or trailer section in their order. A name can occur more than once, with one field for each
/// line. Names are compared without regard to case (RFC 9110, 5.1).
/// </summary>
public sealed class FieldList
{
    private Field[] _fields = [];
    private int _count;

    public int Count => _count;

    public Field this[int index] => _fields.AsSpan(0, _count)[index];

    public ReadOnlySpan<Field> AsSpan() => _fields.AsSpan(0, _count);

    public void Add(string name, string value)
    {
        if (_count == _fields.Length)
        {
            Array.Resize(ref _fields, Math.Max(16, 2 * _count));
        }
        _fields[_count++] = new Field(name, value);
    }

    /// <summary>Removes all fields of that name.</summary>
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

    /// <summary>The value of the first field of that name.</summary>
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

package main

import (
	"cmp"
	"image"
	"image/color"
	"maps"
	"slices"
)

// quantise gives a picture a palette of 256 colours. A page has few colours, but
// hundreds of shades between them at the edges of its letters: those that are
// close to a more frequent one get no place.
func quantise(full image.Image) *image.Paletted {
	bounds := full.Bounds()
	count := make(map[color.RGBA]int)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[rgba(full.At(x, y))]++
		}
	}
	frequent := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	var palette color.Palette
	for _, c := range frequent {
		if len(palette) < 256 && (len(palette) == 0 || !alike(c, rgba(palette.Convert(c)))) {
			palette = append(palette, c)
		}
	}
	index := make(map[color.RGBA]uint8, len(frequent))
	for _, c := range frequent {
		index[c] = uint8(palette.Index(c)) // the nearest one
	}
	small := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			small.SetColorIndex(x, y, index[rgba(full.At(x, y))])
		}
	}
	return small
}

func rgba(c color.Color) color.RGBA { return color.RGBAModel.Convert(c).(color.RGBA) }

// alike says whether nobody would tell two colours apart.
func alike(a, b color.RGBA) bool {
	const most = 6 // of 255, in each channel
	near := func(x, y uint8) bool { return max(x, y)-min(x, y) <= most }
	return near(a.R, b.R) && near(a.G, b.G) && near(a.B, b.B)
}

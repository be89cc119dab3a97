package main

import (
	"cmp"
	"image"
	"image/color"
	"maps"
	"slices"
)

// quantise gives a picture a palette of its 256 most frequent colours. A page has
// few colours, and hundreds of shades between them at the edges of its letters.
func quantise(full image.Image) *image.Paletted {
	bounds := full.Bounds()
	count := make(map[color.RGBA]int)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[rgba(full, x, y)]++
		}
	}
	frequent := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	palette := make(color.Palette, 0, 256)
	for _, c := range frequent[:min(256, len(frequent))] {
		palette = append(palette, c)
	}
	index := make(map[color.RGBA]uint8, len(frequent))
	for _, c := range frequent {
		index[c] = uint8(palette.Index(c)) // the nearest one
	}
	small := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			small.SetColorIndex(x, y, index[rgba(full, x, y)])
		}
	}
	return small
}

func rgba(full image.Image, x, y int) color.RGBA {
	return color.RGBAModel.Convert(full.At(x, y)).(color.RGBA)
}

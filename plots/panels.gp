# Panels of time per operation: rows are modes, columns datasets. gnuplot_panels.py prepares the two
# inputs and calls
#   gnuplot -e "style_file='..'; out='..'" plots/panels.gp
# style_file sets: table (the data's file), rows, cols, names, texts, limits; for series s label[s],
# colour[s], filled[s], hollow[s], dash[s]; for row r y_low[r], y_high[r], log_y[r] and its ticks; for
# panel p = row*cols+col+1 panel_title[p] and its marks (thin vertical lines); and the key's place.
# table holds a block for each series of each panel: x, y, low, high, 1 where a batch fell back to
# the plain loop, 1 where a bar stands for a band, size of the marker; then one for its grey steps.
load style_file

do for [format in "png svg"] {
	if (format eq "png") {
		set terminal pngcairo size width*150,height*150 font "DejaVu Sans,9" fontscale 1.65 linewidth 2
	} else {
		set terminal svg size width*72,height*72 font "DejaVu Sans,9" dynamic background "white"
	}
	set output out.".".format
	set multiplot
	set label 1 title_text at screen 0.15/width, screen 1-0.26/height left font "DejaVu Sans Bold,13" noenhanced
	set label 2 sub_text at screen 0.15/width, screen 1-0.5/height left font ",8" textcolor rgb "#666666" noenhanced
	set label 3 note_text at screen 0.15/width, screen 0.12/height left font ",7" textcolor rgb "#666666" noenhanced
	set border 3 linecolor rgb "#666666"
	set tics nomirror scale 0.6 textcolor rgb "#222222"
	set grid linetype 1 linecolor rgb "#DDDDDD" linewidth 0.5 dashtype 1
	if (log_x) { set logscale x }
	set xrange [x_low:x_high]
	unset mxtics
	unset mytics
	set style fill transparent solid 0.18 noborder
	do for [row=0:rows-1] {
		do for [col=0:cols-1] {
			panel = row*cols + col
			first = panel*(series + 1) - 1
			if (log_y[row+1]) { set logscale y } else { unset logscale y }
			set yrange [y_low[row+1]:y_high[row+1]]
			set lmargin at screen (0.75 + col*panel_width)/width
			set rmargin at screen (0.75 + (col+1)*panel_width - 0.25)/width
			set tmargin at screen 1 - (0.95 + row*panel_height)/height
			set bmargin at screen 1 - (0.95 + (row+1)*panel_height - 0.5)/height
			set title panel_title[panel+1] font "DejaVu Sans Bold,9.5" offset 0,-0.6 noenhanced
			eval (row == rows-1 ? x_tics : x_tics_bare)
			eval (col == 0 ? y_tics[row+1] : y_tics_bare[row+1])
			if (col == 0) { set ylabel y_text offset 0.5,0 } else { unset ylabel }
			if (row == rows-1) { set xlabel x_text offset 0,0.3 } else { unset xlabel }
			do for [c=1:marks] {
				unset arrow c
				unset label 10+c
				m = panel*marks + c
				if (mark_x[m] > 0) {
					set arrow c from mark_x[m], graph 0 to mark_x[m], graph 1 nohead linecolor rgb "#999999" linewidth 0.7 back
					if (mark_left[m]) {
						set label 10+c mark_name[m] at mark_x[m], graph 0.96 left offset 0.3,0 font ",7" textcolor rgb "#666666" noenhanced
					} else {
						set label 10+c mark_name[m] at mark_x[m], graph 0.96 right offset -0.3,0 font ",7" textcolor rgb "#666666" noenhanced
					}
				}
			}
			unset key
			plot table index first+series+1 using 1:2 with steps linecolor rgb "#CCCCCC" linewidth 4 notitle, \
				for [s=1:series] table index first+s using 1:($6==0?$3:NaN):4 with filledcurves linecolor rgb colour[s] notitle, \
				for [s=1:series] table index first+s using 1:(line_width>0?$2:NaN) with lines linecolor rgb colour[s] dashtype dash[s] linewidth line_width notitle, \
				for [s=1:series] table index first+s using 1:($6==1?$2:NaN):3:4 with yerrorbars linecolor rgb colour[s] pointtype 0 linewidth 0.8 notitle, \
				for [s=1:series] table index first+s using 1:($5==0?$2:NaN):7 with points linecolor rgb colour[s] pointtype filled[s] pointsize variable notitle, \
				for [s=1:series] table index first+s using 1:($5==1?$2:NaN):7 with points linecolor rgb "white" pointtype filled[s] pointsize variable notitle, \
				for [s=1:series] table index first+s using 1:($5==1?$2:NaN):7 with points linecolor rgb colour[s] pointtype hollow[s] pointsize variable notitle
			# A text at the edge of the page belongs to the page: draw it once.
			unset label 1; unset label 2; unset label 3
		}
	}
	# The key stands below all panels, in a panel of its own without axes: a cell for each name.
	set lmargin at screen 0.15/width
	set rmargin at screen 1-0.15/width
	set bmargin at screen 0.28/height
	set tmargin at screen key_top/height
	unset border; unset tics; unset grid; unset title; unset xlabel; unset ylabel; unset logscale
	unset arrow; unset label
	set xrange [0:key_columns]
	set yrange [-key_rows:0]
	do for [s=1:series+hollows] {
		# Down the columns, as in the other figures.
		x = (s-1)/key_rows
		y = -0.5 - (s-1)%key_rows
		if (s <= series) {
			if (line_width > 0) { set arrow s from x,y to x+0.2,y nohead linecolor rgb colour[s] dashtype dash[s] linewidth 1.4 }
			set label s label[s] at x+0.1,y left offset 3,0 font ",8.5" noenhanced \
				point linecolor rgb colour[s] pointtype filled[s] pointsize 1.2
		} else {
			set label s hollow_text at x+0.1,y left offset 3,0 font ",8.5" \
				point linecolor rgb "#666666" pointtype 6 pointsize 1.2
		}
	}
	unset key
	plot NaN with points
	unset multiplot
	unset output
	unset arrow; unset label
}

/*
 * Pictograms of finding families, as SVG path data in a 16 x 16 box: the same drawing on the canvas map and in the lists,
 * and the same in every language. Own drawings.
 */
import type { Family } from '../findings'

export const GLYPH: Record<Family, string> = {
  /* three heads and shoulders */
  overload: 'M8 2.2a2.1 2.1 0 1 1 0 4.200a2.100 2.100 0 0 1 0-4.200zM3.300 4.600a1.600 1.600 0 1 1 0 3.200a1.600 1.600 0 0 1 0-3.200zM12.700 4.600a1.600 1.600 0 1 1 0 3.200a1.600 1.600 0 0 1 0-3.200zM4.800 13.600v-3a3.200 3.200 0 0 1 6.400 0v3zM.8 12.600v-1.700a2.300 2.300 0 0 1 3-2.200a5 5 0 0 0-.4 2v1.900zM15.200 12.600v-1.700a2.300 2.300 0 0 0-3-2.200a5 5 0 0 1 .4 2v1.900z',
  /* dial with a needle far right */
  speed: 'M8 2.500a6.300 6.300 0 0 1 5.200 9.900l-1.500-1a4.500 4.500 0 1 0-7.400 0l-1.500 1A6.300 6.300 0 0 1 8 2.500zM12 5.600L9.400 10a1.700 1.700 0 1 1-1.400-1.900z',
  /* a path that leaves the road */
  route: 'M3 14V8.500A3.500 3.500 0 0 1 6.500 5h4.300L9.300 3.400l1.200-1.200L14.200 6l-3.700 3.700l-1.200-1.200L10.800 7H6.500A1.500 1.500 0 0 0 5 8.500V14zM7.500 11h2v3h-2z',
  /* the three letters, four by seven */
  sos: 'M.5 4.5h4v1.4H2v1.3h2.5v4.3h-4v-1.4H3V8.6H.5zM5.9 4.5h4.2v7H5.9zM7.4 5.9v4.2h1.2V5.9zM11.5 4.5h4v1.4H13v1.3h2.5v4.3h-4v-1.4H14V8.6h-2.5z',
  camera: 'M1.500 4.500h9v7h-9zM11.500 7l3-2v6l-3-2z',
  door: 'M3 2h7v12H3zM4.500 3.500v4h4v-4zM11.500 7.200h3v1.600h-3z',
  gps: 'M8 1.800a4.600 4.600 0 0 1 4.600 4.600c0 3-4.600 7.800-4.600 7.800S3.400 9.400 3.400 6.400A4.600 4.600 0 0 1 8 1.800zm0 2.700a1.900 1.900 0 1 0 0 3.800a1.900 1.900 0 0 0 0-3.800z',
  other: 'M7 3h2v6H7zM8 10.500a1.400 1.400 0 1 1 0 2.800a1.400 1.400 0 0 1 0-2.800z'
}

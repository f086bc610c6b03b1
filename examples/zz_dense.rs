use alexnet_vgg::engine::*; use alexnet_vgg::models::*; use std::time::Instant;
use alexnet_vgg::backend::Cpu;
fn main() {
    let name = std::env::args().nth(1).unwrap();
    let device = Default::default();
    let n: Network<Cpu> = Network::new(NetworkConfig::by_name(&name).unwrap().architecture(), &device).unwrap();
    if std::env::args().nth(2).as_deref() == Some("check") {
        let c = n.clone().compile(Precision::F32).unwrap();
        for s in [[1,3,224,224],[2,3,300,260],[1,3,160,256],[3,3,96,100]] {
            let x: Vec<f32> = (0..s.iter().product::<usize>()).map(|i| ((i*7919%1013) as f32/506.0-1.0)).collect();
            let a = c.score_maps(&x, s).unwrap();
            let t = burn::tensor::Tensor::<Cpu,4>::from_data(burn::tensor::TensorData::new(x.clone(), s), &device);
            let b: Vec<f32> = n.score_maps(t).unwrap().into_data().iter::<f32>().collect();
            let m = b.iter().fold(0f32,|m,v| m.max(v.abs()));
            let d = a.values.iter().zip(&b).fold(0f32,|m,(a,b)| m.max((a-b).abs()));
            println!("{s:?} {:?} {} of {m}", a.shape, d/m);
        }
        return;
    }
    let c = n.compile(Precision::F32).unwrap();
    let time = |f: &mut dyn FnMut()| { f(); f(); let mut v: Vec<f64> = (0..15).map(|_| { let t = Instant::now(); f(); t.elapsed().as_secs_f64()*1e3 }).collect(); v.sort_by(f64::total_cmp); (v[0], v[7]) };
    let x = vec![0.5; 3*224*224]; let mut l = vec![0.0; 1000];
    let y = vec![0.5; 3*512*512];
    for _ in 0..3 {
    let a = time(&mut || c.run(&x, [1,3,224,224], &mut l).unwrap());
    let b = time(&mut || { c.score_maps(&y, [1,3,512,512]).unwrap(); });
    println!("224: {a:?}  512 dense: {b:?} ratio {:.2} {:.2} (area {:.2})", b.0/a.0, b.1/a.1, 512f64*512./224./224.);
    }
}
